// SPDX-License-Identifier: Apache-2.0
// Backward attention in bfloat16 by tensor cores. A block keeps 128 keys and runs over the tiles of
// queries that see them. Five products per tile, as in FlashAttention-2 (Dao 2023,
// arXiv:2307.08691, section 3.1.2), of transposed scores, so that probabilities leave one product
// and enter the next in registers:
//   s = k q^T   p = exp(scale s - lse)      dv += p dout
//   dp = v dout^T   ds = p (dp - delta)     dk += ds q        dq += ds^T k
// Warps 0 to 3 have 32 keys each and compute s, p and dv; warps 4 to 7 have the same keys and
// compute dp, ds and dk: 32 rows of a warp's left operand per matrix read from shared memory, where
// eight warps that each do everything would have 16.
//
// dq of a tile of queries is a sum over blocks, in float32 in scratch. Blocks add in a fixed order,
// from the last keys to the first, which is the order in which blocks start and in which they reach
// the tile: two runs give the same bits, and nobody waits long. The block of the first keys is the
// last to add and writes dq itself. At that time every other block has read these queries; keys and
// values are read by their own block only. Therefore dqkv may be qkv.
#include <cmath>
#include <cstdint>
#include <numbers>

#include "kernels/cuda/attention_backward_layout.cuh"
#include "kernels/cuda/attention_backward_steps.cuh"
#include "kernels/cuda/attention_kernels.h"
#include "kernels/cuda/block_turns.cuh"
#include "kernels/cuda/dynamic_shared.cuh"
#include "kernels/cuda/element.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/swizzled_tile.cuh"
#include "kernels/cuda/warp_reduce.cuh"

namespace halfpipe::cuda {
namespace {

using namespace attention_backward;

struct Sizes {
  std::int64_t num_heads;
  std::int64_t num_query_tiles;  // of a head
  std::int64_t num_key_tiles;
};

template <int kHeadSize>
Sizes sizes_of(const ops::AttentionDims& dims) {
  constexpr int kQueries = Layout<kHeadSize>::kQueries;
  return {dims.B * dims.NH, (dims.T + kQueries - 1) / kQueries, (dims.T + kKeys - 1) / kKeys};
}

template <int kHeadSize>
std::size_t scratch_bytes(const ops::AttentionDims& dims) {
  const Sizes sizes = sizes_of<kHeadSize>(dims);
  const std::int64_t tiles = sizes.num_heads * sizes.num_query_tiles;
  const std::int64_t words = tiles * Layout<kHeadSize>::kQueries * (kHeadSize + 2) + tiles + 1;
  return static_cast<std::size_t>(words) * sizeof(float);
}

template <int kHeadSize>
Scratch scratch_of(const ops::AttentionBackwardInput& args) {
  const Sizes sizes = sizes_of<kHeadSize>(args.dims);
  const std::int64_t tiles = sizes.num_heads * sizes.num_query_tiles;
  float* const dq = static_cast<float*>(args.scratch);
  float* const rows = dq + tiles * Layout<kHeadSize>::kQueries * kHeadSize;
  auto* const turns =
      reinterpret_cast<std::uint32_t*>(rows + tiles * Layout<kHeadSize>::kQueries * 2);
  return {dq, rows, turns, turns + tiles};
}

// ---------------------------------------------------------------------------------------- rows

constexpr int kLanesPerRow = 4;
constexpr int kRowThreads = 256;

/// delta = sum over the head of dout * out, and lse in powers of two: one query per four lanes.
/// Queries behind the end get lse = infinity, which makes their probabilities zero. Also sets turns
/// and ticket to zero.
template <int kHeadSize>
__global__ void attention_backward_rows_kernel(ops::AttentionBackwardInput args,
                                               Scratch scratch,
                                               std::int64_t num_tiles,
                                               int num_tiles_of_head) {
  constexpr int kQueries = Layout<kHeadSize>::kQueries;
  const int lane = static_cast<int>(threadIdx.x) % kLanesPerRow;
  const std::int64_t row = std::int64_t{blockIdx.x} * (kRowThreads / kLanesPerRow) +
                           static_cast<int>(threadIdx.x) / kLanesPerRow;
  const std::int64_t tile = row / kQueries;  // of all heads
  const int row_of_tile = static_cast<int>(row % kQueries);
  const std::int64_t head = tile / num_tiles_of_head;
  const std::int64_t T = args.dims.T;
  const std::int64_t t = tile % num_tiles_of_head * kQueries + row_of_tile;
  const bool valid = tile < num_tiles && t < T;

  float sum = 0.0F;
  if (valid) {
    const std::int64_t NH = args.dims.NH;
    const std::int64_t offset = ((head / NH * T + t) * NH + head % NH) * kHeadSize;
#pragma unroll
    for (int i = 0; i < kHeadSize / 8 / kLanesPerRow; ++i) {
      const int column = (i * kLanesPerRow + lane) * 8;
      float out[8];
      float dout[8];
      load_vector(out, static_cast<const BFloat16*>(args.out) + offset + column);
      load_vector(dout, static_cast<const BFloat16*>(args.dout) + offset + column);
#pragma unroll
      for (int j = 0; j < 8; ++j) sum += out[j] * dout[j];
    }
  }
  sum += __shfl_xor_sync(kAllLanes, sum, 1);
  sum += __shfl_xor_sync(kAllLanes, sum, 2);
  if (lane != 0 || tile >= num_tiles) return;
  float* const rows = scratch.rows + tile * 2 * kQueries + row_of_tile;
  rows[0] = valid ? args.lse[head * T + t] * std::numbers::log2e_v<float> : INFINITY;
  rows[kQueries] = sum;
  if (row_of_tile == 0) scratch.turns[tile] = 0;
  if (row == 0) *scratch.ticket = 0;
}

// ------------------------------------------------------------------------------------ gradients

/// A block's place: which keys of which head.
struct Place {
  int head;
  int key_tile;
};

/// Heads one after the other; within a head from the last keys, which have least work, to the
/// first: see the order of additions above.
__device__ __forceinline__ Place take_place(std::uint32_t* counter,
                                            std::uint32_t* shared_ticket,
                                            int num_key_tiles) {
  if (threadIdx.x == 0) *shared_ticket = take_ticket(counter);
  __syncthreads();
  const int ticket = static_cast<int>(*shared_ticket);
  return {ticket / num_key_tiles, num_key_tiles - 1 - ticket % num_key_tiles};
}

/// One head's rows in the tensors and in scratch.
struct Head {
  const BFloat16* queries;
  const BFloat16* dout;
  BFloat16* dqueries;
  const float* rows;
  float* partial_dq;
  std::uint32_t* turns;
  std::int64_t out_stride;
  std::int64_t qkv_stride;
  int T;
};

template <int kHeadSize>
__device__ __forceinline__ Head head_of(const ops::AttentionBackwardInput& args,
                                        const Scratch& scratch,
                                        int head,
                                        int num_query_tiles) {
  constexpr int kQueries = Layout<kHeadSize>::kQueries;
  const std::int64_t NH = args.dims.NH;
  const std::int64_t first_row = head / NH * args.dims.T;
  const std::int64_t column = head % NH * kHeadSize;
  const std::int64_t out_stride = NH * kHeadSize;
  const std::int64_t qkv_offset = first_row * 3 * out_stride + column;
  const std::int64_t first_tile = std::int64_t{head} * num_query_tiles;
  return {static_cast<const BFloat16*>(args.qkv) + qkv_offset,
          static_cast<const BFloat16*>(args.dout) + first_row * out_stride + column,
          static_cast<BFloat16*>(args.dqkv) + qkv_offset,
          scratch.rows + first_tile * 2 * kQueries,
          scratch.dq + first_tile * kQueries * kHeadSize,
          scratch.turns + first_tile,
          out_stride,
          3 * out_stride,
          static_cast<int>(args.dims.T)};
}

/// Starts the copies of a tile's queries, dout, lse and delta to the buffers of its parity.
template <int kHeadSize>
__device__ __forceinline__ void copy_queries_async(std::byte* shared, const Head& at, int tile) {
  using L = Layout<kHeadSize>;
  constexpr int kQueries = L::kQueries;
  const int first = tile * kQueries;
  const int tile_offset = tile % 2 * L::HeadTile::bytes(kQueries);
  copy_tile_async<kHeadSize, kQueries, kThreads>(shared + L::kQueryOffset + tile_offset,
                                                 at.queries + first * at.qkv_stride, at.qkv_stride,
                                                 at.T - first);
  copy_tile_async<kHeadSize, kQueries, kThreads>(shared + L::kDoutOffset + tile_offset,
                                                 at.dout + first * at.out_stride, at.out_stride,
                                                 at.T - first);
  const int thread = static_cast<int>(threadIdx.x);
  if (thread < L::kRowBytes / 16) {
    copy_async_16(shared + L::kRowOffset + tile % 2 * L::kRowBytes + thread * 16,
                  at.rows + std::int64_t{first} * 2 + thread * 4);
  }
}

template <int kHeadSize>
__global__ void __launch_bounds__(kThreads, 1)
    attention_backward_kernel(ops::AttentionBackwardInput args,
                              Scratch scratch,
                              int num_query_tiles,
                              int num_key_tiles,
                              float scale) {
  using L = Layout<kHeadSize>;
  constexpr int kQueries = L::kQueries;
  constexpr int kQueryTilesPerKeyTile = kKeys / kQueries;
  HALFPIPE_DYNAMIC_SHARED(shared);
  const auto [head, key_tile] = take_place(
      scratch.ticket, reinterpret_cast<std::uint32_t*>(shared + L::kTicketOffset), num_key_tiles);

  const Head at = head_of<kHeadSize>(args, scratch, head, num_query_tiles);
  const int first_key = key_tile * kKeys;
  const BFloat16* const keys = at.queries + at.out_stride + first_key * at.qkv_stride;
  copy_tile_async<kHeadSize, kKeys, kThreads>(shared + L::kKeyOffset, keys, at.qkv_stride,
                                              at.T - first_key);
  copy_tile_async<kHeadSize, kKeys, kThreads>(shared + L::kValueOffset, keys + at.out_stride,
                                              at.qkv_stride, at.T - first_key);
  const int first_query_tile = key_tile * kQueryTilesPerKeyTile;
  copy_queries_async<kHeadSize>(shared, at, first_query_tile);
  commit_copies();

  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize;
  const bool of_values = warp < kKeyWarps;  // s, p, dv; otherwise dp, ds, dk
  const int first_row = warp % kKeyWarps * 16 * kM;
  std::byte* const own_tile = shared + (of_values ? L::kKeyOffset : L::kValueOffset);
  const std::byte* const left_tiles = shared + (of_values ? L::kQueryOffset : L::kDoutOffset);
  const std::byte* const right_tiles = shared + (of_values ? L::kDoutOffset : L::kQueryOffset);
  std::byte* const ds_tile = shared + L::kDsOffset;
  auto* const exchanged_p = reinterpret_cast<uint4*>(shared + L::kProbabilityOffset);
  const int dq_row = warp / L::kDqWarpsAcross * 16 * L::kDqM;
  const int dq_chunk = warp % L::kDqWarpsAcross * L::kDqN;
  const float scale_log2 = scale * std::numbers::log2e_v<float>;

  float sums[kM][L::kHeadN][4] = {};  // dv or dk
  float dq[L::kDqM][L::kDqN][4];
  const auto add_to_dq = [&](int tile) {
    multiply_columns<kQueries, kHeadSize, kKeys>(dq, ds_tile, dq_row / 8, shared + L::kKeyOffset,
                                                 dq_chunk);
    if (key_tile == 0) {
      const std::int64_t row = std::int64_t{tile} * kQueries + dq_row;
      write_dq(at.dqueries + row * at.qkv_stride + dq_chunk * 8, at.qkv_stride, at.T - row, dq,
               scale);
    } else {
      write_partial_dq(at.partial_dq + std::int64_t{tile} * kQueries * kHeadSize, dq);
    }
  };
  const auto turn_of = [&](int tile) {
    return static_cast<std::uint32_t>(tile / kQueryTilesPerKeyTile - key_tile);
  };

  for (int tile = first_query_tile; tile < num_query_tiles; ++tile) {
    wait_for_copies<0>();
    __syncthreads();  // queries have arrived; ds of the tile before is complete
    if (tile + 1 < num_query_tiles) copy_queries_async<kHeadSize>(shared, at, tile + 1);
    commit_copies();
    if (tile > first_query_tile) add_to_dq(tile - 1);

    const int tile_offset = tile % 2 * L::HeadTile::bytes(kQueries);
    const auto* const tile_rows =
        reinterpret_cast<const float*>(shared + L::kRowOffset + tile % 2 * L::kRowBytes) +
        lane % 4 * 2;
    float scores[kM][L::kScoreN][4] = {};
    multiply_rows<kHeadSize>(scores, own_tile, first_row, left_tiles + tile_offset);
    std::uint32_t operands[kM][kQueries / 16][4];
    if (of_values) {
      if (tile * kQueries < first_key + first_row + 16 * kM - 1) {
        mask_scores(scores, tile * kQueries + lane % 4 * 2, first_key + first_row + lane / 4);
      }
      probabilities_of(operands, scores, tile_rows, scale_log2, exchanged_p);
    }
    if (threadIdx.x == kThreads - 1) wait_for_turn(&at.turns[tile], turn_of(tile));
    __syncthreads();  // p is complete, ds free; this block may add to dq of this tile
    if (threadIdx.x == 0 && tile > first_query_tile) {
      pass_turn(&at.turns[tile - 1], turn_of(tile - 1) + 1);
    }
    if (!of_values) {
      score_gradients_of(operands, scores, tile_rows + kQueries, exchanged_p);
#pragma unroll
      for (int m = 0; m < kM; ++m) {
        store_operands<kQueries>(ds_tile, first_row + 16 * m, operands[m]);
      }
    }
    read_partial_dq(dq, at.partial_dq + std::int64_t{tile} * kQueries * kHeadSize,
                    turn_of(tile) == 0);
    multiply_registers(sums, operands, right_tiles + tile_offset);
  }
  __syncthreads();
  add_to_dq(num_query_tiles - 1);
  __syncthreads();
  if (threadIdx.x == 0) pass_turn(&at.turns[num_query_tiles - 1], turn_of(num_query_tiles - 1) + 1);

  const std::int64_t first_row_of_head = first_key + first_row;
  BFloat16* const gradients =
      at.dqueries + (of_values ? 2 : 1) * at.out_stride + first_row_of_head * at.qkv_stride;
  store_rows(gradients, at.qkv_stride, at.T - first_row_of_head, sums, of_values ? 1.0F : scale,
             own_tile, first_row);
}

// ------------------------------------------------------------------------------------ launchers

template <int kHeadSize>
void launch_backward(const ops::AttentionBackwardInput& args, cudaStream_t stream) {
  const Sizes sizes = sizes_of<kHeadSize>(args.dims);
  const Scratch scratch = scratch_of<kHeadSize>(args);
  const std::int64_t num_tiles = sizes.num_heads * sizes.num_query_tiles;
  constexpr int kRowsPerBlock = kRowThreads / kLanesPerRow;
  static_assert(Layout<kHeadSize>::kQueries % kRowsPerBlock == 0);
  launch(attention_backward_rows_kernel<kHeadSize>,
         static_cast<unsigned>(num_tiles * Layout<kHeadSize>::kQueries / kRowsPerBlock),
         kRowThreads, 0, stream, args, scratch, num_tiles, static_cast<int>(sizes.num_query_tiles));
  launch(attention_backward_kernel<kHeadSize>,
         static_cast<unsigned>(sizes.num_heads * sizes.num_key_tiles), kThreads,
         Layout<kHeadSize>::kSharedBytes, stream, args, scratch,
         static_cast<int>(sizes.num_query_tiles), static_cast<int>(sizes.num_key_tiles),
         1.0F / std::sqrt(static_cast<float>(kHeadSize)));
}

}  // namespace

void attention_backward_tensor_core(const ops::AttentionBackwardInput& args, cudaStream_t stream) {
  switch (args.dims.HS) {
    case 64:
      return launch_backward<64>(args, stream);
    case 96:
      return launch_backward<96>(args, stream);
    default:
      return launch_backward<128>(args, stream);
  }
}

std::size_t attention_backward_tensor_core_scratch_bytes(const ops::AttentionDims& dims) {
  switch (dims.HS) {
    case 64:
      return scratch_bytes<64>(dims);
    case 96:
      return scratch_bytes<96>(dims);
    default:
      return scratch_bytes<128>(dims);
  }
}

}  // namespace halfpipe::cuda
