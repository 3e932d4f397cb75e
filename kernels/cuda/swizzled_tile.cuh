// SPDX-License-Identifier: Apache-2.0
// Tiles of bfloat16 in shared memory without bank conflicts, and the products of such tiles by one
// warp. A row's 16-byte chunks are permuted by an exclusive or with bits of the row's number, so
// that the eight rows of a matrix of ldmatrix lie in eight different groups of four banks.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/core/bfloat16.h"
#include "kernels/cuda/async_copy.cuh"
#include "kernels/cuda/element_conversion.cuh"
#include "kernels/cuda/tensor_core.cuh"

namespace halfpipe::cuda {

/// Rows of kWidth elements (a multiple of 32).
template <int kWidth>
struct SwizzledTile {
  static_assert(kWidth % 32 == 0);
  static constexpr int kRowBytes = 2 * kWidth;
  static constexpr int kChunks = kWidth / 8;
  // Rows of 64 elements repeat the banks in each row; an odd multiple of 32 in each second row.
  static constexpr int kPermuted = kWidth % 64 == 0 ? 8 : 4;

  [[nodiscard]] static constexpr int bytes(int rows) { return rows * kRowBytes; }
  [[nodiscard]] static __device__ constexpr int permutation(int row) {
    return kPermuted == 8 ? row % 8 : row / 2 % 4;
  }
  /// Of a chunk of 8 elements, in bytes.
  [[nodiscard]] static __device__ constexpr int offset(int row, int chunk) {
    return row * kRowBytes + (chunk ^ permutation(row)) * 16;
  }
};

/// Which row of 16 and which of two neighbouring chunks a lane addresses in load_matrices.
struct LaneRow {
  int row;
  int chunk;
};
/// Matrices 0 and 1 below each other, 2 and 3 to their right: the operand a from a [m, k] tile, or
/// two operands b from a [k, n] tile, transposed.
[[nodiscard]] __device__ __forceinline__ LaneRow lane_row_down() {
  const int lane = static_cast<int>(threadIdx.x % 32);
  return {lane % 16, lane / 16};
}
/// Matrices 0 and 1 beside each other, 2 and 3 below: two operands b from a [n, k] tile, or the
/// operand a from a [k, m] tile, transposed.
[[nodiscard]] __device__ __forceinline__ LaneRow lane_row_across() {
  const int lane = static_cast<int>(threadIdx.x % 32);
  return {lane % 8 + lane / 16 * 8, lane / 8 % 2};
}

/// Address for a lane of the 16 x 16 block at (row, 8 chunk): row a multiple of 16, chunk even.
template <int kWidth>
[[nodiscard]] __device__ __forceinline__ const std::byte* block_address(const std::byte* tile,
                                                                        LaneRow lane,
                                                                        int row,
                                                                        int chunk) {
  using Tile = SwizzledTile<kWidth>;
  // Written so that the parts that depend on the lane are the same for all blocks of a column.
  constexpr int kMask = Tile::kPermuted - 1;
  const int permuted = (lane.chunk ^ Tile::permutation(lane.row)) ^ (chunk & kMask);
  return tile + lane.row * Tile::kRowBytes + permuted * 16 +
         (row * Tile::kRowBytes + (chunk & ~kMask) * 16);
}

/// Starts the copy of kRows rows of kWidth elements to a tile by a block of kThreads. Rows from
/// num_rows on become zeros. row_stride: elements between rows of source.
template <int kWidth, int kRows, int kThreads>
__device__ __forceinline__ void copy_tile_async(std::byte* tile,
                                                const BFloat16* source,
                                                std::int64_t row_stride,
                                                int num_rows) {
  using Tile = SwizzledTile<kWidth>;
  constexpr int kPasses = kRows * Tile::kChunks / kThreads;
  static_assert(kRows * Tile::kChunks % kThreads == 0);
  const int thread = static_cast<int>(threadIdx.x);
  if constexpr (kThreads % Tile::kChunks == 0) {
    // A pass is a whole number of rows, below the pass before: few addresses to keep.
    constexpr int kRowsOfPass = kThreads / Tile::kChunks;
    static_assert(kRowsOfPass % 8 == 0, "a thread's chunk is permuted alike in every pass");
    const int row = thread / Tile::kChunks;
    const int chunk = thread % Tile::kChunks;
    const BFloat16* from = source + row * row_stride + chunk * 8;
    std::byte* const to = tile + Tile::offset(row, chunk);
#pragma unroll
    for (int pass = 0; pass < kPasses; ++pass) {
      copy_async_16(to + Tile::bytes(pass * kRowsOfPass), from,
                    pass * kRowsOfPass + row < num_rows);
      from += kRowsOfPass * row_stride;
    }
  } else {
#pragma unroll
    for (int pass = 0; pass < kPasses; ++pass) {
      const int row = (pass * kThreads + thread) / Tile::kChunks;
      const int chunk = (pass * kThreads + thread) % Tile::kChunks;
      copy_async_16(tile + Tile::offset(row, chunk), source + row * row_stride + chunk * 8,
                    row < num_rows);
    }
  }
}

/// sums += left right^T for a warp: left is rows [first_row, first_row + 16 kM) of its tile, right
/// rows [0, 8 kN) of its.
template <int kWidth, int kM, int kN>
__device__ __forceinline__ void multiply_rows(float (&sums)[kM][kN][4],
                                              const std::byte* left,
                                              int first_row,
                                              const std::byte* right) {
  const LaneRow down = lane_row_down();
  const LaneRow across = lane_row_across();
#pragma unroll
  for (int k = 0; k < kWidth / 16; ++k) {
    std::uint32_t a[kM][4];
#pragma unroll
    for (int m = 0; m < kM; ++m) {
      load_matrices(a[m], block_address<kWidth>(left, down, first_row + 16 * m, 2 * k));
    }
#pragma unroll
    for (int n = 0; n < kN; n += 2) {
      std::uint32_t b[4];
      load_matrices(b, block_address<kWidth>(right, across, 8 * n, 2 * k));
#pragma unroll
      for (int m = 0; m < kM; ++m) {
        mma_m16n8k16(sums[m][n], a[m], b[0], b[1]);
        mma_m16n8k16(sums[m][n + 1], a[m], b[2], b[3]);
      }
    }
  }
}

/// sums += left right for a warp: left in registers as operands a of 16 columns each, right a tile
/// of 16 kK rows of 8 kN elements.
template <int kM, int kK, int kN>
__device__ __forceinline__ void multiply_registers(float (&sums)[kM][kN][4],
                                                   const std::uint32_t (&left)[kM][kK][4],
                                                   const std::byte* right) {
  const LaneRow down = lane_row_down();
#pragma unroll
  for (int k = 0; k < kK; ++k) {
#pragma unroll
    for (int n = 0; n < kN; n += 2) {
      std::uint32_t b[4];
      load_matrices_transposed(b, block_address<8 * kN>(right, down, 16 * k, n));
#pragma unroll
      for (int m = 0; m < kM; ++m) {
        mma_m16n8k16(sums[m][n], left[m][k], b[0], b[1]);
        mma_m16n8k16(sums[m][n + 1], left[m][k], b[2], b[3]);
      }
    }
  }
}

/// sums += (left^T right) for a warp: left a tile of rows of kLeftWidth, right one of kRightWidth,
/// both of kRows rows, of which the columns from 8 left_chunk and 8 right_chunk on are used.
template <int kLeftWidth, int kRightWidth, int kRows, int kM, int kN>
__device__ __forceinline__ void multiply_columns(float (&sums)[kM][kN][4],
                                                 const std::byte* left,
                                                 int left_chunk,
                                                 const std::byte* right,
                                                 int right_chunk) {
  const LaneRow down = lane_row_down();
  const LaneRow across = lane_row_across();
#pragma unroll
  for (int k = 0; k < kRows / 16; ++k) {
    std::uint32_t a[kM][4];
#pragma unroll
    for (int m = 0; m < kM; ++m) {
      load_matrices_transposed(a[m],
                               block_address<kLeftWidth>(left, across, 16 * k, left_chunk + 2 * m));
    }
#pragma unroll
    for (int n = 0; n < kN; n += 2) {
      std::uint32_t b[4];
      load_matrices_transposed(b, block_address<kRightWidth>(right, down, 16 * k, right_chunk + n));
#pragma unroll
      for (int m = 0; m < kM; ++m) {
        mma_m16n8k16(sums[m][n], a[m], b[0], b[1]);
        mma_m16n8k16(sums[m][n + 1], a[m], b[2], b[3]);
      }
    }
  }
}

/// The sums of 16 rows and 16 columns as an operand a.
__device__ __forceinline__ void round_to_operand(std::uint32_t (&a)[4],
                                                 const float (&left)[4],
                                                 const float (&right)[4]) {
  a[0] = round_pair_to_bits(left[0], left[1]);
  a[1] = round_pair_to_bits(left[2], left[3]);
  a[2] = round_pair_to_bits(right[0], right[1]);
  a[3] = round_pair_to_bits(right[2], right[3]);
}

/// Writes operands a, side by side, to the rows [first_row, first_row + 16) of a tile; first_row a
/// multiple of 16.
template <int kWidth, int kK>
__device__ __forceinline__ void store_operands(std::byte* tile,
                                               int first_row,
                                               const std::uint32_t (&operands)[kK][4]) {
  using Tile = SwizzledTile<kWidth>;
  constexpr int kMask = Tile::kPermuted - 1;
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int permutation = Tile::permutation(lane / 4);  // also of the row eight below
  std::byte* const row = tile + (first_row + lane / 4) * Tile::kRowBytes + lane % 4 * 4;
#pragma unroll
  for (int k = 0; k < kK; ++k) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int chunk = 2 * k + i / 2;
      std::byte* const at = row + ((chunk & kMask) ^ permutation) * 16 +
                            ((chunk & ~kMask) * 16 + i % 2 * 8 * Tile::kRowBytes);
      *reinterpret_cast<std::uint32_t*>(at) = operands[k][i];
    }
  }
}

/// Writes a warp's sums times `factor`, rounded, to the rows [0, num_rows) of target, row_stride
/// elements apart. On the way they lie in the rows [first_row, first_row + 16 kM) of a tile, which
/// no other warp may be using.
template <int kM, int kN>
__device__ __forceinline__ void store_rows(BFloat16* target,
                                           std::int64_t row_stride,
                                           std::int64_t num_rows,
                                           const float (&sums)[kM][kN][4],
                                           float factor,
                                           std::byte* tile,
                                           int first_row) {
  using Tile = SwizzledTile<8 * kN>;
#pragma unroll
  for (int m = 0; m < kM; ++m) {
    std::uint32_t operands[kN / 2][4];
#pragma unroll
    for (int n = 0; n < kN; n += 2) {
      float left[4];
      float right[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        left[i] = sums[m][n][i] * factor;
        right[i] = sums[m][n + 1][i] * factor;
      }
      round_to_operand(operands[n / 2], left, right);
    }
    store_operands<8 * kN>(tile, first_row + 16 * m, operands);
  }
  __syncwarp();
  const int lane = static_cast<int>(threadIdx.x % 32);
#pragma unroll
  for (int pass = 0; pass < kM * kN / 2; ++pass) {
    const int row = (pass * 32 + lane) / Tile::kChunks;
    const int chunk = (pass * 32 + lane) % Tile::kChunks;
    if (row < num_rows) {
      *reinterpret_cast<uint4*>(target + row * row_stride + chunk * 8) =
          *reinterpret_cast<const uint4*>(tile + Tile::offset(first_row + row, chunk));
    }
  }
}

}  // namespace halfpipe::cuda
