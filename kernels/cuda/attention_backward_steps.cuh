// SPDX-License-Identifier: Apache-2.0
// What attention_backward_tensor_core.cu does with a tile between its products: probabilities and
// gradients of scores, and the sums of dq on their way to and from scratch.
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/cuda/attention_backward_layout.cuh"
#include "kernels/cuda/element.cuh"
#include "kernels/cuda/exp2.cuh"

namespace halfpipe::cuda::attention_backward {

/// Where the warps of s and those of dp, 16 bytes per thread and matrix, hand over probabilities.
/// Threads half a block apart have the same keys and queries.
__device__ __forceinline__ int exchange_index(int m, int k, int num_k) {
  return (m * num_k + k) * (kThreads / 2) + static_cast<int>(threadIdx.x) % (kThreads / 2);
}

/// Scores of queries before their key become -infinity. first_query and first_key: of the lane.
template <int kScoreN>
__device__ __forceinline__ void mask_scores(float (&scores)[kM][kScoreN][4],
                                            int first_query,
                                            int first_key) {
#pragma unroll
  for (int m = 0; m < kM; ++m) {
#pragma unroll
    for (int n = 0; n < kScoreN; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int key = first_key + 16 * m + i / 2 * 8;
        const int query = first_query + 8 * n + i % 2;
        if (key > query) scores[m][n][i] = -INFINITY;
      }
    }
  }
}

/// p = exp2(scale scores - lse), rounded, also to `exchanged`. row_lse: of the lane's first query.
template <int kScoreN>
__device__ __forceinline__ void probabilities_of(std::uint32_t (&p)[kM][kScoreN / 2][4],
                                                 float (&scores)[kM][kScoreN][4],
                                                 const float* row_lse,
                                                 float scale_log2,
                                                 uint4* exchanged) {
#pragma unroll
  for (int k = 0; k < kScoreN / 2; ++k) {
    const float2 left = *reinterpret_cast<const float2*>(row_lse + 16 * k);
    const float2 right = *reinterpret_cast<const float2*>(row_lse + 16 * k + 8);
#pragma unroll
    for (int m = 0; m < kM; ++m) {
#pragma unroll
      for (int n = 2 * k; n < 2 * k + 2; ++n) {
        const float2 lse = n % 2 == 0 ? left : right;
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          scores[m][n][i] =
              exp2_approx(fmaf(scores[m][n][i], scale_log2, i % 2 == 0 ? -lse.x : -lse.y));
        }
      }
      round_to_operand(p[m][k], scores[m][2 * k], scores[m][2 * k + 1]);
      exchanged[exchange_index(m, k, kScoreN / 2)] =
          make_uint4(p[m][k][0], p[m][k][1], p[m][k][2], p[m][k][3]);
    }
  }
}

/// ds = p (dp - delta), rounded, with p from `exchanged`. row_delta: of the lane's first query.
template <int kScoreN>
__device__ __forceinline__ void score_gradients_of(std::uint32_t (&ds)[kM][kScoreN / 2][4],
                                                   const float (&dp)[kM][kScoreN][4],
                                                   const float* row_delta,
                                                   const uint4* exchanged) {
#pragma unroll
  for (int k = 0; k < kScoreN / 2; ++k) {
    const float2 left = *reinterpret_cast<const float2*>(row_delta + 16 * k);
    const float2 right = *reinterpret_cast<const float2*>(row_delta + 16 * k + 8);
#pragma unroll
    for (int m = 0; m < kM; ++m) {
      const uint4 v = exchanged[exchange_index(m, k, kScoreN / 2)];
      const std::uint32_t p[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float2 delta = i < 2 ? left : right;
        const float* const pair = &dp[m][2 * k + i / 2][i % 2 * 2];
        ds[m][k][i] = round_pair_to_bits(
            widen(static_cast<std::uint16_t>(p[i] & 0xffffU)) * (pair[0] - delta.x),
            widen(static_cast<std::uint16_t>(p[i] >> 16)) * (pair[1] - delta.y));
      }
    }
  }
}

/// dq = scale * sums, to rows of dqkv from the warp's first on.
template <int kDqM, int kDqN>
__device__ __forceinline__ void write_dq(BFloat16* target,
                                         std::int64_t row_stride,
                                         std::int64_t num_rows,
                                         const float (&sums)[kDqM][kDqN][4],
                                         float scale) {
  const int lane = static_cast<int>(threadIdx.x % kWarpSize);
#pragma unroll
  for (int m = 0; m < kDqM; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = 16 * m + 8 * half + lane / 4;
      if (row >= num_rows) continue;
#pragma unroll
      for (int n = 0; n < kDqN; ++n) {
        const std::uint32_t pair =
            round_pair_to_bits(sums[m][n][2 * half] * scale, sums[m][n][2 * half + 1] * scale);
        *reinterpret_cast<std::uint32_t*>(target + row * row_stride + 8 * n + lane % 4 * 2) = pair;
      }
    }
  }
}

/// A thread's part of one tile's dq in scratch (in the L2 cache, as another processor wrote it), or
/// zeros for the first block that adds to it.
template <int kDqM, int kDqN>
__device__ __forceinline__ void read_partial_dq(float (&sums)[kDqM][kDqN][4],
                                                const float* partial,
                                                bool first) {
#pragma unroll
  for (int m = 0; m < kDqM; ++m) {
#pragma unroll
    for (int n = 0; n < kDqN; ++n) {
      float4 v = make_float4(0.0F, 0.0F, 0.0F, 0.0F);
      const float* const from = partial + ((m * kDqN + n) * kThreads + threadIdx.x) * 4;
      if (!first) v = __ldcg(reinterpret_cast<const float4*>(from));
      sums[m][n][0] = v.x;
      sums[m][n][1] = v.y;
      sums[m][n][2] = v.z;
      sums[m][n][3] = v.w;
    }
  }
}
template <int kDqM, int kDqN>
__device__ __forceinline__ void write_partial_dq(float* partial,
                                                 const float (&sums)[kDqM][kDqN][4]) {
#pragma unroll
  for (int m = 0; m < kDqM; ++m) {
#pragma unroll
    for (int n = 0; n < kDqN; ++n) {
      float* const to = partial + ((m * kDqN + n) * kThreads + threadIdx.x) * 4;
      const float(&v)[4] = sums[m][n];
      __stcg(reinterpret_cast<float4*>(to), make_float4(v[0], v[1], v[2], v[3]));
    }
  }
}

}  // namespace halfpipe::cuda::attention_backward
