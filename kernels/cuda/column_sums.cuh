// SPDX-License-Identifier: Apache-2.0
// Sums over the rows of [N, C] arrays, bias and norm weight gradients, in two stages: blocks add up
// parts of the rows and write partial sums, then few threads per column add those to the result.
// Which rows are added by whom, and in which order, depends on N, C, the element type and the
// alignment alone (row_split.h).
//
// The second stage is a kernel of its own. The last block to finish could do its work instead, but
// would need a counter that is zero before: clearing it is a launch, too, and then every block pays
// for a fence and an atomic.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kernels/core/align.h"
#include "kernels/cuda/element_group.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/row_split.h"
#include "kernels/cuda/warp_reduce.cuh"

namespace halfpipe::cuda {

/// The results of kSums sums over the same rows, [C] each; null ones are left out.
template <int kSums>
struct ColumnSumTargets {
  float* dst_or_null[kSums];
};

template <typename Terms>
inline constexpr RowPiece kPieceOf = row_piece(sizeof(typename Terms::Element), Terms::kWidth);

// sums[s][i] = sum of rows begin, begin + stride, ... below end.
template <typename Terms>
__device__ __forceinline__ void sum_rows_of_thread(const Terms& terms,
                                                   std::int64_t begin,
                                                   std::int64_t end,
                                                   std::int64_t column,
                                                   float (&sums)[Terms::kSums][Terms::kWidth]) {
  constexpr std::int64_t kStride = kPieceOf<Terms>.row_lanes;
  typename Terms::Row rows[kRowsTogether];
  std::int64_t n = begin;
#pragma unroll 1
  for (; n + (kRowsTogether - 1) * kStride < end; n += kRowsTogether * kStride) {
#pragma unroll
    for (int k = 0; k < kRowsTogether; ++k) terms.load(n + k * kStride, column, rows[k]);
#pragma unroll
    for (int k = 0; k < kRowsTogether; ++k) terms.add(rows[k], sums);
  }
#pragma unroll 1
  for (; n < end; n += kStride) {
    terms.load(n, column, rows[0]);
    terms.add(rows[0], sums);
  }
}

// partial_sums[part][s][c] = sum of the part's rows; a block takes one piece of one part. Pieces of
// the same rows belong to neighbouring blocks, so what runs at one time reads whole pages.
template <typename Terms>
__global__ void __launch_bounds__(kColumnSumThreads, Terms::kBlocksPerSm)
    partial_column_sums_kernel(Terms terms,
                               float* partial_sums,
                               std::int64_t N,
                               std::int64_t C,
                               std::int64_t rows_of_part) {
  constexpr int kSums = Terms::kSums;
  constexpr RowPiece kPiece = kPieceOf<Terms>;
  constexpr int kWarps = kColumnSumThreads / kWarpSize;
  static_assert(kSums * kPiece.columns <= kColumnSumThreads);
  __shared__ float of_warp[kWarps][kSums][kPiece.columns];
  const int thread = static_cast<int>(threadIdx.x);
  const int column_lane = thread % kPiece.column_lanes;
  const auto num_pieces = static_cast<unsigned>(ceil_div<std::int64_t>(C, kPiece.columns));
  const std::int64_t part = blockIdx.x / num_pieces;
  const std::int64_t first_column = std::int64_t{blockIdx.x % num_pieces} * kPiece.columns;
  const std::int64_t column = first_column + column_lane * Terms::kWidth;

  float sums[kSums][Terms::kWidth] = {};
  if (column < C) {
    const std::int64_t begin = part * rows_of_part;
    const std::int64_t end = begin + rows_of_part < N ? begin + rows_of_part : N;
    sum_rows_of_thread(terms, begin + thread / kPiece.column_lanes, end, column, sums);
  }
#pragma unroll
  for (int s = 0; s < kSums; ++s) {
#pragma unroll
    for (int i = 0; i < Terms::kWidth; ++i) {
#pragma unroll
      for (int offset = kWarpSize / 2; offset >= kPiece.column_lanes; offset /= 2) {
        sums[s][i] += __shfl_xor_sync(kAllLanes, sums[s][i], offset);
      }
      if (thread % kWarpSize < kPiece.column_lanes) {
        of_warp[thread / kWarpSize][s][column_lane * Terms::kWidth + i] = sums[s][i];
      }
    }
  }
  __syncthreads();
  const int s = thread / kPiece.columns;
  const int i = thread % kPiece.columns;
  if (s >= kSums || first_column + i >= C) return;
  float total = 0.0F;
#pragma unroll
  for (int warp = 0; warp < kWarps; ++warp) total += of_warp[warp][s][i];
  partial_sums[(part * kSums + s) * C + first_column + i] = total;
}

inline constexpr int kPartLanes = 8;
inline constexpr int kPartsTogether = 8;  // read before the first is added

// dst[s][c] += sum over parts of partial_sums[part][s][c], in float64.
template <int kSums>
__global__ void __launch_bounds__(kPartLanes* kWarpSize)
    add_partial_sums_kernel(ColumnSumTargets<kSums> targets,
                            const float* partial_sums,
                            std::int64_t num_parts,
                            std::int64_t C) {
  __shared__ double of_lane[kPartLanes][kWarpSize];
  const int s = static_cast<int>(blockIdx.y);
  const std::int64_t c = std::int64_t{blockIdx.x} * kWarpSize + threadIdx.x;
  float* dst = targets.dst_or_null[0];
  // By constant index: otherwise every thread copies the pointers to local memory.
#pragma unroll
  for (int i = 1; i < kSums; ++i) {
    if (s == i) dst = targets.dst_or_null[i];
  }
  if (dst == nullptr) return;
  double total = 0.0;
  if (c < C) {
    for (std::int64_t first = threadIdx.y; first < num_parts;
         first += kPartsTogether * kPartLanes) {
      float sums[kPartsTogether];
#pragma unroll
      for (int k = 0; k < kPartsTogether; ++k) {
        const std::int64_t part = first + k * kPartLanes;
        sums[k] = part < num_parts ? partial_sums[(part * kSums + s) * C + c] : 0.0F;
      }
#pragma unroll
      for (int k = 0; k < kPartsTogether; ++k) total += sums[k];
    }
  }
  of_lane[threadIdx.y][threadIdx.x] = total;
  __syncthreads();
  if (threadIdx.y != 0 || c >= C) return;
  total = dst[c];
#pragma unroll
  for (int lane = 0; lane < kPartLanes; ++lane) total += of_lane[lane][threadIdx.x];
  dst[c] = static_cast<float>(total);
}

template <typename T, int kWidth>
[[nodiscard]] RowSplit split_of_column_sums(std::int64_t N, std::int64_t C) {
  constexpr RowPiece kPiece = row_piece(sizeof(T), kWidth);
  return split_rows(N, ceil_div<std::int64_t>(C, kPiece.columns), kPiece.row_lanes);
}

/// Scratch for kSums sums over [N, C] arrays of T, wherever they begin: the partial sums.
template <typename T, int kSums>
[[nodiscard]] std::size_t column_sums_scratch_bytes(std::int64_t N, std::int64_t C) {
  const std::int64_t num_parts = std::max(split_of_column_sums<T, kPerVector<T>>(N, C).num_parts,
                                          split_of_column_sums<T, 1>(N, C).num_parts);
  return static_cast<std::size_t>(num_parts * kSums * C) * sizeof(float);
}

/// dst_or_null[s][c] += sum_n term_s(n, c). `scratch` has column_sums_scratch_bytes. Terms, passed
/// to the kernel by value, has
///   Element                type of the [N, C] arrays
///   kWidth                 neighbouring columns of a thread: one, or those of a 16-byte access
///   kSums
///   kBlocksPerSm           asked for, and with it registers of a thread: 6 for 42, 4 for 64, 2 for
///                          128. Left alone, nvcc 13.0 stays at 32 for one sum of one array, and to
///                          get by it adds the first row before it reads the next
///   Row                    what a thread holds of one row
///   load(n, c, row)        reads columns c .. c + kWidth - 1 of row n
///   add(row, sums)         sums[s][i] += term_s(n, c + i); each is added once, and what a load
///                          of the same n and c reads may then be overwritten
template <typename Terms>
void add_column_sums(const Terms& terms,
                     const ColumnSumTargets<Terms::kSums>& targets,
                     std::int64_t N,
                     std::int64_t C,
                     void* scratch,
                     cudaStream_t stream) {
  if (N == 0 || C == 0) return;
  const RowSplit split = split_of_column_sums<typename Terms::Element, Terms::kWidth>(N, C);
  const std::int64_t num_pieces = ceil_div<std::int64_t>(C, kPieceOf<Terms>.columns);
  auto* const partial_sums = static_cast<float*>(scratch);
  launch(partial_column_sums_kernel<Terms>,
         dim3(static_cast<unsigned>(num_pieces * split.num_parts)), dim3(kColumnSumThreads), 0,
         stream, terms, partial_sums, N, C, split.rows_of_part);
  launch(add_partial_sums_kernel<Terms::kSums>,
         dim3(static_cast<unsigned>(ceil_div<std::int64_t>(C, kWarpSize)), Terms::kSums),
         dim3(kWarpSize, kPartLanes), 0, stream, targets, partial_sums, split.num_parts, C);
}

}  // namespace halfpipe::cuda
