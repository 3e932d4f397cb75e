// SPDX-License-Identifier: Apache-2.0
// Token plus position embedding on the GPU. A warp works on a slice of rows: one group of columns
// per lane.
//
// The gradient of the token table needs no atomics and no memory of its own. Token ids are hashed
// into slots; a slot belongs to one warp, eight slots to a block. Every block reads all token ids
// (from the second-level cache: 32,768 of them take 128 KiB), lists those of its slots in order,
// and each of its warps adds up the rows of its ids in that order.
#include "kernels/cuda/embedding.h"

#include <algorithm>

#include "kernels/core/align.h"
#include "kernels/cuda/element_group.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/prefetch.cuh"
#include "kernels/cuda/warp_reduce.cuh"

namespace halfpipe::cuda {

namespace {

constexpr int kWarps = 8;  // of every block here
constexpr int kTokensPerLane = 16;
constexpr int kTokensPerTile = kWarps * kWarpSize * kTokensPerLane;
constexpr int kRowsTogether = 8;       // read before the first is added
constexpr int kSequencesTogether = 4;  // read before the first is written
// Blocks of the token table's gradient: enough to fill the GPU, few enough that reading the ids in
// each of them costs little.
constexpr std::int64_t kTokenBlocks = 1024;
constexpr std::int64_t kTokensPerBucket = 32;

template <int kWidth>
constexpr std::int64_t kSliceColumns = std::int64_t{kWarpSize} * kWidth;

__device__ __forceinline__ bool contains(const ops::TokenIds& ids, std::int32_t token) {
  return token >= ids.begin && token < ids.end;
}

// A warp has one position of kSequencesTogether sequences: a row waits for its token's id, so
// several must be on their way, and they share the row of their position.
template <typename T, int kWidth>
__global__ void __launch_bounds__(kWarps* kWarpSize, 4)
    embedding_forward_kernel(ops::EmbeddingForward a) {
  const auto position_blocks = static_cast<unsigned>(ceil_div<std::int64_t>(a.T, kWarps));
  const std::int64_t t = std::int64_t{blockIdx.x % position_blocks} * kWarps + threadIdx.y;
  const std::int64_t first = std::int64_t{blockIdx.x / position_blocks} * kSequencesTogether;
  const std::int64_t c = blockIdx.y * kSliceColumns<kWidth> + std::int64_t{threadIdx.x} * kWidth;
  if (t >= a.T || c >= a.C) return;
  std::int64_t row[kSequencesTogether];
  std::int32_t token[kSequencesTogether];
#pragma unroll
  for (int k = 0; k < kSequencesTogether; ++k) {
    // Past the last sequence that one again, so that no load waits for a branch.
    row[k] = (first + k < a.B ? first + k : a.B - 1) * a.T + t;
    token[k] = a.tokens[row[k]];
  }
  float of_position[kWidth];
  float sum[kSequencesTogether][kWidth];
  load_group_if(a.position_table != nullptr, of_position,
                static_cast<const T*>(a.position_table) + (a.first_position + t) * a.C + c);
#pragma unroll
  for (int k = 0; k < kSequencesTogether; ++k) {
    load_group_if(contains(a.ids, token[k]), sum[k],
                  static_cast<const T*>(a.token_table) + (token[k] - a.ids.begin) * a.C + c);
  }
#pragma unroll
  for (int k = 0; k < kSequencesTogether; ++k) {
    if (first + k >= a.B) return;
#pragma unroll
    for (int i = 0; i < kWidth; ++i) sum[k][i] += of_position[i];
    store_group(static_cast<T*>(a.out) + row[k] * a.C + c, sum[k]);
  }
}

template <typename T, int kWidth>
__global__ void __launch_bounds__(kWarps* kWarpSize)
    position_gradient_kernel(ops::EmbeddingBackwardWeight a) {
  const std::int64_t t = std::int64_t{blockIdx.x} * kWarps + threadIdx.y;
  const std::int64_t c = blockIdx.y * kSliceColumns<kWidth> + std::int64_t{threadIdx.x} * kWidth;
  if (t >= a.T || c >= a.C) return;
  const T* dout = static_cast<const T*>(a.dout) + t * a.C + c;
  float* target = a.dposition_table + t * a.C + c;
  float sum[kWidth];
  load_group(sum, target);
#pragma unroll 4
  for (std::int64_t b = 0; b < a.B; ++b) {
    float row[kWidth];
    load_group(row, dout + b * a.T * a.C);
#pragma unroll
    for (int i = 0; i < kWidth; ++i) sum[i] += row[i];
  }
  store_group(target, sum);
}

// Of num_slots; multiplicative hashing (Knuth, The Art of Computer Programming 3, section 6.4)
// spreads the frequent ids, which are small and close together.
__device__ __forceinline__ unsigned slot_of(std::int32_t id, unsigned num_slots) {
  return __umulhi(static_cast<unsigned>(id) * 2654435769U, num_slots);
}

// The tokens of a tile that belong to a block, in order, by the rows of their ids in the table.
struct TokenList {
  std::int32_t id[kTokensPerTile];
  std::int32_t place[kTokensPerTile];  // within the tile
  std::uint8_t is_added[kTokensPerTile];
  int count_of_warp[kWarps];
};

// Returns the length of the list. `tokens` is the tile, `count` tokens long. A barrier stands
// between the last use of the old list and the first entry of the new one.
__device__ __forceinline__ int list_tokens(const std::int32_t* tokens,
                                           std::int64_t count,
                                           const ops::TokenIds& ids,
                                           TokenList& list) {
  const int lane = static_cast<int>(threadIdx.x);
  const int warp = static_cast<int>(threadIdx.y);
  const int first = warp * kTokensPerLane * kWarpSize + lane;
  std::int32_t id[kTokensPerLane];
  unsigned listed[kTokensPerLane];
#pragma unroll
  for (int i = 0; i < kTokensPerLane; ++i) {
    const int at = first + i * kWarpSize;
    const std::int32_t token = at < count ? tokens[at] : -1;
    id[i] = contains(ids, token) ? static_cast<std::int32_t>(token - ids.begin) : -1;
  }
  int count_of_warp = 0;
#pragma unroll
  for (int i = 0; i < kTokensPerLane; ++i) {
    const bool mine = id[i] >= 0 && slot_of(id[i], gridDim.x * kWarps) / kWarps == blockIdx.x;
    listed[i] = __ballot_sync(kAllLanes, mine);
    count_of_warp += __popc(listed[i]);
  }
  if (lane == 0) list.count_of_warp[warp] = count_of_warp;
  __syncthreads();
  int at = 0;
  int length = 0;
  for (int w = 0; w < kWarps; ++w) {
    if (w < warp) at += list.count_of_warp[w];
    length += list.count_of_warp[w];
  }
#pragma unroll
  for (int i = 0; i < kTokensPerLane; ++i) {
    if ((listed[i] >> lane & 1U) != 0) {
      const int entry = at + __popc(listed[i] & ((1U << lane) - 1U));
      list.id[entry] = id[i];
      list.place[entry] = first + i * kWarpSize;
      list.is_added[entry] = 0;
    }
    at += __popc(listed[i]);
  }
  __syncthreads();
  return length;
}

// Adds the rows of the lowest kRows set bits of `entries`, in order, and clears the bits.
template <int kRows, typename T, int kWidth>
__device__ __forceinline__ void add_rows(const T* dout,
                                         std::int64_t C,
                                         const std::int32_t* places,
                                         unsigned& entries,
                                         float (&sum)[kWidth]) {
  float row[kRows][kWidth];
#pragma unroll
  for (int k = 0; k < kRows; ++k) {
    load_group(row[k], dout + std::int64_t{places[__ffs(static_cast<int>(entries)) - 1]} * C);
    entries &= entries - 1;
  }
#pragma unroll
  for (int k = 0; k < kRows; ++k) {
#pragma unroll
    for (int i = 0; i < kWidth; ++i) sum[i] += row[k][i];
  }
}

// sum += the rows of id, whose first entry is at `begin` or among the 31 after it. `dout` is the
// first row of the tile, at the column of this lane.
template <typename T, int kWidth>
__device__ __forceinline__ void add_rows_of_id(std::int32_t id,
                                               int begin,
                                               int length,
                                               const T* dout,
                                               std::int64_t C,
                                               TokenList& list,
                                               float (&sum)[kWidth]) {
  for (int base = begin; base < length; base += kWarpSize) {
    const int entry = base + static_cast<int>(threadIdx.x);
    const bool matches = entry < length && list.id[entry] == id;
    if (matches) list.is_added[entry] = 1;
    unsigned entries = __ballot_sync(kAllLanes, matches);
    const std::int32_t* places = list.place + base;
    while (__popc(entries) >= kRowsTogether) {
      add_rows<kRowsTogether>(dout, C, places, entries, sum);
    }
    if (__popc(entries) >= 4) add_rows<4>(dout, C, places, entries, sum);
    if (__popc(entries) >= 2) add_rows<2>(dout, C, places, entries, sum);
    if (entries != 0) add_rows<1>(dout, C, places, entries, sum);
  }
}

// Has the rows of these entries of a list, 32 at most, brought into the second-level cache while
// the warp adds up one id after the other. `id` is that of entry number lane; `table` and `dout`
// begin at the column of this lane.
template <typename T>
__device__ __forceinline__ void prefetch_rows(unsigned entries,
                                              std::int32_t id,
                                              const std::int32_t* places,
                                              const float* table,
                                              const T* dout,
                                              std::int64_t C) {
  for (; entries != 0; entries &= entries - 1) {
    const int entry = __ffs(static_cast<int>(entries)) - 1;
    prefetch_to_second_level(table + __shfl_sync(kAllLanes, id, entry) * C);
    prefetch_to_second_level(dout + places[entry] * C);
  }
}

template <typename T, int kWidth>
__global__ void __launch_bounds__(kWarps* kWarpSize, 4)
    token_gradient_kernel(ops::EmbeddingBackwardWeight a) {
  __shared__ TokenList list;
  const int lane = static_cast<int>(threadIdx.x);
  const std::int64_t c = blockIdx.y * kSliceColumns<kWidth> + std::int64_t{lane} * kWidth;
  const bool inside = c < a.C;
  const std::int64_t column = inside ? c : 0;  // read, not written, past the end
  const std::int64_t N = a.B * a.T;
  for (std::int64_t tile = 0; tile < N; tile += kTokensPerTile) {
    const int length = list_tokens(a.tokens + tile, N - tile, a.ids, list);
    const T* dout = static_cast<const T*>(a.dout) + tile * a.C + column;
    for (int base = 0; base < length; base += kWarpSize) {
      const int entry = base + lane;
      // is_added of an entry is read and written by this lane of the owner's warp alone.
      const std::int32_t id = entry < length ? list.id[entry] : -1;
      const bool mine = id >= 0 && slot_of(id, gridDim.x * kWarps) % kWarps == threadIdx.y &&
                        list.is_added[entry] == 0;
      unsigned waiting = __ballot_sync(kAllLanes, mine);
      prefetch_rows(waiting, id, list.place + base, a.dtoken_table + column, dout, a.C);
      while (waiting != 0) {
        const std::int32_t next = __shfl_sync(kAllLanes, id, __ffs(static_cast<int>(waiting)) - 1);
        float* target = a.dtoken_table + next * a.C + column;
        float sum[kWidth];
        load_group(sum, target);
        add_rows_of_id(next, base, length, dout, a.C, list, sum);
        if (inside) store_group(target, sum);
        waiting &= ~__ballot_sync(kAllLanes, id == next);
      }
    }
  }
}

// -------------------------------------------------------------------------------------------------

template <typename T, int kWidth>
void forward(const ops::EmbeddingForward& args, cudaStream_t stream) {
  const std::int64_t position_blocks = ceil_div<std::int64_t>(args.T, kWarps);
  const std::int64_t sequence_blocks = ceil_div<std::int64_t>(args.B, kSequencesTogether);
  const dim3 grid(static_cast<unsigned>(position_blocks * sequence_blocks),
                  static_cast<unsigned>(ceil_div(args.C, kSliceColumns<kWidth>)));
  launch(embedding_forward_kernel<T, kWidth>, grid, dim3(kWarpSize, kWarps), 0, stream, args);
}

// Positions first: what they read of dout is less than the second-level cache of an H100 holds up
// to 8192 rows of 1600 in bfloat16, and the tokens find it there. The other way round, the token
// table would have pushed it out.
template <typename T, int kWidth>
void backward_weight(const ops::EmbeddingBackwardWeight& args, cudaStream_t stream) {
  const std::int64_t slices = ceil_div(args.C, kSliceColumns<kWidth>);
  const std::int64_t buckets = std::clamp<std::int64_t>(
      std::min(kTokenBlocks / slices, args.B * args.T / kTokensPerBucket), 1, 256);
  const dim3 block(kWarpSize, kWarps);
  launch(position_gradient_kernel<T, kWidth>,
         dim3(static_cast<unsigned>(ceil_div(args.T, std::int64_t{kWarps})),
              static_cast<unsigned>(slices)),
         block, 0, stream, args);
  launch(token_gradient_kernel<T, kWidth>,
         dim3(static_cast<unsigned>(buckets), static_cast<unsigned>(slices)), block, 0, stream,
         args);
}

}  // namespace

void embedding_forward(const ops::EmbeddingForward& args, cudaStream_t stream) {
  if (args.B * args.T == 0) return;
  with_element_type(args.dtype, [&]<typename T>() {
    if (rows_keep_alignment<T>(args.C) &&
        vector_aligned({args.out, args.token_table, args.position_table})) {
      forward<T, kPerVector<T>>(args, stream);
    } else {
      forward<T, 1>(args, stream);
    }
  });
}

void embedding_backward_weight(const ops::EmbeddingBackwardWeight& args, cudaStream_t stream) {
  if (args.B * args.T == 0) return;
  with_element_type(args.dtype, [&]<typename T>() {
    if (rows_keep_alignment<T>(args.C) &&
        vector_aligned({args.dout, args.dtoken_table, args.dposition_table})) {
      backward_weight<T, kPerVector<T>>(args, stream);
    } else {
      backward_weight<T, 1>(args, stream);
    }
  });
}

}  // namespace halfpipe::cuda
