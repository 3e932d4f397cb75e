// SPDX-License-Identifier: Apache-2.0
// Forward attention in bfloat16 by tensor cores, after FlashAttention-2 (Dao 2023,
// arXiv:2307.08691): a block keeps 128 queries and runs over their keys, 64 at a time. A warp has
// 32 queries, because each matrix of keys or values read from shared memory then serves two
// products; with 16, shared memory would be slower than the tensor cores of sm_90.
#include <cmath>
#include <cstdint>
#include <numbers>

#include "kernels/cuda/attention_kernels.h"
#include "kernels/cuda/dynamic_shared.cuh"
#include "kernels/cuda/exp2.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/swizzled_tile.cuh"
#include "kernels/cuda/warp_reduce.cuh"

namespace halfpipe::cuda {
namespace {

constexpr int kQueries = 128;  // of a block
constexpr int kKeys = 64;      // of a tile
constexpr int kWarps = 4;
constexpr int kThreads = kWarps * kWarpSize;
constexpr int kM = kQueries / kWarps / 16;  // matrices of 16 queries of a warp
constexpr int kScoreN = kKeys / 8;

// The sums of a warp's exp2(score - maximum) are rescaled only when the maximum has grown by more
// than this many powers of two since; float32 has room for that (idea: Dao et al.,
// FlashAttention-4).
constexpr float kMaximumSlack = 8.0F;

template <int kHeadSize>
constexpr int kBlocksPerProcessor = kHeadSize == 64 ? 3 : 2;

template <int kHeadSize>
constexpr int kSharedBytes = SwizzledTile<kHeadSize>::bytes(kQueries + 4 * kKeys);

/// Of the four lanes that hold the columns of a row.
__device__ __forceinline__ float row_max_of_lanes(float value) {
  value = fmaxf(value, __shfl_xor_sync(kAllLanes, value, 1));
  return fmaxf(value, __shfl_xor_sync(kAllLanes, value, 2));
}
__device__ __forceinline__ float row_sum_of_lanes(float value) {
  value += __shfl_xor_sync(kAllLanes, value, 1);
  return value + __shfl_xor_sync(kAllLanes, value, 2);
}

/// Of the rows group + 8 half of matrix m: the running softmax.
struct RowState {
  float maximum[kM][2];  // of the unscaled scores, up to kMaximumSlack
  float sum[kM][2];      // this lane's part
};

/// Scores of keys behind their query become -infinity. first_query: of the lane's first row.
__device__ __forceinline__ void mask_scores(float (&scores)[kM][kScoreN][4],
                                            int first_query,
                                            int first_key) {
#pragma unroll
  for (int m = 0; m < kM; ++m) {
#pragma unroll
    for (int n = 0; n < kScoreN; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int query = first_query + 16 * m + i / 2 * 8;
        const int key = first_key + 8 * n + i % 2;
        if (key > query) scores[m][n][i] = -INFINITY;
      }
    }
  }
}

/// Turns scores into exp2(scale * score - maximum) and keeps rows and sums consistent.
template <int kHeadN>
__device__ __forceinline__ void softmax_step(float (&scores)[kM][kScoreN][4],
                                             float (&sums)[kM][kHeadN][4],
                                             RowState& rows,
                                             float scale_log2) {
#pragma unroll
  for (int m = 0; m < kM; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float maximum = -INFINITY;
#pragma unroll
      for (int n = 0; n < kScoreN; ++n) {
        maximum = fmaxf(maximum, fmaxf(scores[m][n][2 * half], scores[m][n][2 * half + 1]));
      }
      maximum = row_max_of_lanes(maximum);
      if ((maximum - rows.maximum[m][half]) * scale_log2 > kMaximumSlack) {
        const float correction = exp2_approx((rows.maximum[m][half] - maximum) * scale_log2);
        rows.maximum[m][half] = maximum;
        rows.sum[m][half] *= correction;
#pragma unroll
        for (int n = 0; n < kHeadN; ++n) {
          sums[m][n][2 * half] *= correction;
          sums[m][n][2 * half + 1] *= correction;
        }
      }
      const float offset = -rows.maximum[m][half] * scale_log2;
#pragma unroll
      for (int n = 0; n < kScoreN; ++n) {
#pragma unroll
        for (int i = 2 * half; i < 2 * half + 2; ++i) {
          scores[m][n][i] = exp2_approx(fmaf(scores[m][n][i], scale_log2, offset));
          rows.sum[m][half] += scores[m][n][i];
        }
      }
    }
  }
}

/// The sums over all keys become outputs; lse of the rows is written.
template <int kHeadN>
__device__ __forceinline__ void finish_rows(
    float (&sums)[kM][kHeadN][4], const RowState& rows, float* lse, int num_rows, float scale) {
  const int lane = static_cast<int>(threadIdx.x % kWarpSize);
#pragma unroll
  for (int m = 0; m < kM; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float sum = row_sum_of_lanes(rows.sum[m][half]);
      const float inverse = 1.0F / sum;
#pragma unroll
      for (int n = 0; n < kHeadN; ++n) {
        sums[m][n][2 * half] *= inverse;
        sums[m][n][2 * half + 1] *= inverse;
      }
      const int row = 16 * m + 8 * half + lane / 4;
      if (lane % 4 == 0 && row < num_rows) {
        lse[row] = rows.maximum[m][half] * scale + logf(sum);
      }
    }
  }
}

/// Grid: B * NH heads fastest, then the tiles of queries from the last, which has most keys.
template <int kHeadSize>
__global__ void __launch_bounds__(kThreads, kBlocksPerProcessor<kHeadSize>)
    attention_forward_kernel(ops::AttentionForward args, int num_heads, float scale) {
  using Tile = SwizzledTile<kHeadSize>;
  constexpr int kHeadN = kHeadSize / 8;
  HALFPIPE_DYNAMIC_SHARED(shared);
  std::byte* const query_tile = shared;
  std::byte* const key_tiles = shared + Tile::bytes(kQueries);        // two
  std::byte* const value_tiles = key_tiles + Tile::bytes(2 * kKeys);  // two

  const int T = static_cast<int>(args.dims.T);
  const std::int64_t NH = args.dims.NH;
  const int head = static_cast<int>(blockIdx.x) % num_heads;
  const int num_query_tiles = (T + kQueries - 1) / kQueries;
  const int query_tile_index = num_query_tiles - 1 - static_cast<int>(blockIdx.x) / num_heads;
  const std::int64_t b = head / NH;
  const std::int64_t h = head % NH;
  const int first_query = query_tile_index * kQueries;
  const int end_key = min(T, first_query + kQueries);
  const int num_key_tiles = (end_key + kKeys - 1) / kKeys;

  const std::int64_t row_stride = 3 * NH * kHeadSize;
  const BFloat16* const queries =
      static_cast<const BFloat16*>(args.qkv) + b * T * row_stride + h * kHeadSize;
  const BFloat16* const keys = queries + NH * kHeadSize;
  const BFloat16* const values = keys + NH * kHeadSize;
  const auto copy_keys_and_values = [&](int tile) {
    const int first = tile * kKeys;
    const int buffer = tile % 2 * Tile::bytes(kKeys);
    copy_tile_async<kHeadSize, kKeys, kThreads>(key_tiles + buffer, keys + first * row_stride,
                                                row_stride, T - first);
    copy_tile_async<kHeadSize, kKeys, kThreads>(value_tiles + buffer, values + first * row_stride,
                                                row_stride, T - first);
  };
  copy_tile_async<kHeadSize, kQueries, kThreads>(query_tile, queries + first_query * row_stride,
                                                 row_stride, T - first_query);
  copy_keys_and_values(0);
  commit_copies();

  const int warp = static_cast<int>(threadIdx.x) / kWarpSize;
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  const int first_row = warp * 16 * kM;  // of this warp in the tile
  const int first_query_of_warp = first_query + first_row;
  const float scale_log2 = scale * std::numbers::log2e_v<float>;
  float sums[kM][kHeadN][4] = {};
  RowState rows;
#pragma unroll
  for (int m = 0; m < kM; ++m) {
    rows.maximum[m][0] = rows.maximum[m][1] = -INFINITY;
    rows.sum[m][0] = rows.sum[m][1] = 0.0F;
  }

  for (int tile = 0; tile < num_key_tiles; ++tile) {
    wait_for_copies<0>();
    __syncthreads();  // the tile has arrived, and nobody uses the one before it any more
    if (tile + 1 < num_key_tiles) copy_keys_and_values(tile + 1);
    commit_copies();
    const int first_key = tile * kKeys;
    if (first_key >= first_query_of_warp + 16 * kM) continue;

    const int buffer = tile % 2 * Tile::bytes(kKeys);
    float scores[kM][kScoreN][4] = {};
    multiply_rows<kHeadSize>(scores, query_tile, first_row, key_tiles + buffer);
    if (first_key + kKeys > first_query_of_warp + 1) {
      mask_scores(scores, first_query_of_warp + lane / 4, first_key + lane % 4 * 2);
    }
    softmax_step(scores, sums, rows, scale_log2);
    std::uint32_t probabilities[kM][kKeys / 16][4];
#pragma unroll
    for (int m = 0; m < kM; ++m) {
#pragma unroll
      for (int k = 0; k < kKeys / 16; ++k) {
        round_to_operand(probabilities[m][k], scores[m][2 * k], scores[m][2 * k + 1]);
      }
    }
    multiply_registers(sums, probabilities, value_tiles + buffer);
  }

  const int num_rows = T - first_query_of_warp;
  finish_rows(sums, rows, args.lse + std::int64_t{head} * T + first_query_of_warp, num_rows, scale);
  BFloat16* const out =
      static_cast<BFloat16*>(args.out) + ((b * T + first_query_of_warp) * NH + h) * kHeadSize;
  store_rows(out, NH * kHeadSize, num_rows, sums, 1.0F, query_tile, first_row);
}

template <int kHeadSize>
void launch_forward(const ops::AttentionForward& args, cudaStream_t stream) {
  const std::int64_t num_heads = args.dims.B * args.dims.NH;
  const std::int64_t num_tiles = (args.dims.T + kQueries - 1) / kQueries;
  launch(attention_forward_kernel<kHeadSize>, static_cast<unsigned>(num_heads * num_tiles),
         kThreads, kSharedBytes<kHeadSize>, stream, args, static_cast<int>(num_heads),
         1.0F / std::sqrt(static_cast<float>(kHeadSize)));
}

}  // namespace

void attention_forward_tensor_core(const ops::AttentionForward& args, cudaStream_t stream) {
  switch (args.dims.HS) {
    case 64:
      return launch_forward<64>(args, stream);
    case 96:
      return launch_forward<96>(args, stream);
    default:
      return launch_forward<128>(args, stream);
  }
}

}  // namespace halfpipe::cuda
