// SPDX-License-Identifier: Apache-2.0
// Sums over the rows of [N, C] arrays: bias and norm weight gradients. No memory but the result is
// needed: a block owns a few columns of all rows, so the order of a sum depends on N, C, the
// element type and the alignment alone.
#pragma once

#include <cstdint>

#include "kernels/core/align.h"
#include "kernels/cuda/element_group.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/warp_reduce.cuh"

namespace halfpipe::cuda {

inline constexpr int kColumnSumThreads = 512;

/// Bytes of a row that a block reads, the unit in which memory is fetched. Narrow columns make many
/// blocks: 100 for C = 1600 in bfloat16.
inline constexpr int kColumnSumRowBytes = 32;

// Of a thread. The rows of a partial sum are added in float32 before it joins the total, so that
// the rounding error stays that of so many additions; rows together are read before the first is
// added, so that their loads overlap.
inline constexpr int kRowsPerPartialSum = 32;
inline constexpr int kRowsTogether = 4;

// sums[s][i] = sum of the rows of this thread: row_lane, row_lane + num_row_lanes, ...
template <typename Terms>
__device__ __forceinline__ void sum_rows_of_thread(const Terms& terms,
                                                   std::int64_t row_lane,
                                                   std::int64_t num_row_lanes,
                                                   std::int64_t column,
                                                   std::int64_t N,
                                                   float (&sums)[Terms::kSums][Terms::kWidth]) {
  std::int64_t n = row_lane;
  while (n < N) {
    float partial[Terms::kSums][Terms::kWidth] = {};
    for (int i = 0; i < kRowsPerPartialSum && n < N; i += kRowsTogether) {
      typename Terms::Row rows[kRowsTogether];
      if (n + (kRowsTogether - 1) * num_row_lanes < N) {
#pragma unroll
        for (int k = 0; k < kRowsTogether; ++k) {
          terms.load(n + k * num_row_lanes, column, rows[k]);
        }
#pragma unroll
        for (int k = 0; k < kRowsTogether; ++k) terms.add(rows[k], partial);
      } else {
#pragma unroll 1
        for (std::int64_t last = n; last < N; last += num_row_lanes) {
          terms.load(last, column, rows[0]);
          terms.add(rows[0], partial);
        }
      }
      n += kRowsTogether * num_row_lanes;
    }
#pragma unroll
    for (int s = 0; s < Terms::kSums; ++s) {
#pragma unroll
      for (int i = 0; i < Terms::kWidth; ++i) sums[s][i] += partial[s][i];
    }
  }
}

template <typename Terms>
__global__ void __launch_bounds__(kColumnSumThreads, 1)
    column_sums_kernel(Terms terms, std::int64_t N, std::int64_t C) {
  constexpr int kSums = Terms::kSums;
  constexpr int kColumns = kColumnSumRowBytes / sizeof(typename Terms::Element);
  constexpr int kColumnLanes = kColumns / Terms::kWidth;
  constexpr int kWarps = kColumnSumThreads / kWarpSize;
  __shared__ float of_warp[kWarps][kSums][kColumns];
  const int thread = static_cast<int>(threadIdx.x);
  const int column_lane = thread % kColumnLanes;
  const std::int64_t first_column = std::int64_t{blockIdx.x} * kColumns;
  const std::int64_t column = first_column + column_lane * Terms::kWidth;

  float sums[kSums][Terms::kWidth] = {};
  if (column < C) {
    sum_rows_of_thread(terms, thread / kColumnLanes, kColumnSumThreads / kColumnLanes, column, N,
                       sums);
  }
#pragma unroll
  for (int s = 0; s < kSums; ++s) {
#pragma unroll
    for (int i = 0; i < Terms::kWidth; ++i) {
#pragma unroll
      for (int offset = kWarpSize / 2; offset >= kColumnLanes; offset /= 2) {
        sums[s][i] += __shfl_xor_sync(kAllLanes, sums[s][i], offset);
      }
      if (thread % kWarpSize < kColumnLanes) {
        of_warp[thread / kWarpSize][s][column_lane * Terms::kWidth + i] = sums[s][i];
      }
    }
  }
  __syncthreads();
  if (thread >= kSums * kColumns) return;
  const int s = thread / kColumns;
  const std::int64_t c = first_column + thread % kColumns;
  float* dst = terms.dst_or_null[s];
  if (c >= C || dst == nullptr) return;
  double total = dst[c];
  for (int warp = 0; warp < kWarps; ++warp) total += of_warp[warp][s][thread % kColumns];
  dst[c] = static_cast<float>(total);
}

/// dst_or_null[s][c] += sum_n term_s(n, c); a null dst is left out. Terms, passed to the kernel by
/// value, has
///   Element                type of the [N, C] arrays
///   kWidth                 neighbouring columns of a thread: one, or those of a 16-byte access
///   kSums, dst_or_null[kSums]
///   Row                    what a thread holds of one row
///   load(n, c, row)        reads columns c .. c + kWidth - 1 of row n
///   add(row, sums)         sums[s][i] += term_s(n, c + i)
template <typename Terms>
void add_column_sums(const Terms& terms, std::int64_t N, std::int64_t C, cudaStream_t stream) {
  if (N == 0 || C == 0) return;
  constexpr std::int64_t kColumns = kColumnSumRowBytes / sizeof(typename Terms::Element);
  const auto grid = static_cast<unsigned>(ceil_div(C, kColumns));
  launch(column_sums_kernel<Terms>, dim3(grid), dim3(kColumnSumThreads), 0, stream, terms, N, C);
}

}  // namespace halfpipe::cuda
