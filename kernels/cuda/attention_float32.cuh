// SPDX-License-Identifier: Apache-2.0
// Steps shared by the attention kernels that calculate in float32 without tensor cores: for float32
// tensors and for heads of sizes that the tensor-core kernels do not know. A block keeps 32 rows
// (queries or keys), eight lanes each, and meets 32 rows of the other kind at a time.
#pragma once

#include <cstdint>

#include "kernels/cuda/dynamic_shared.cuh"
#include "kernels/cuda/element.cuh"
#include "kernels/cuda/warp_reduce.cuh"

namespace halfpipe::cuda::float32 {

inline constexpr int kRows = 32;
inline constexpr int kLanes = 8;  // of a row
inline constexpr int kThreads = kRows * kLanes;
inline constexpr int kScores = kRows / kLanes;  // of a lane

/// Heads are padded with zeros to kHead columns. Four floats more keep 16-byte reads of eight
/// neighbouring rows in different banks.
template <int kHead>
inline constexpr int kPitch = kHead + 4;
template <int kHead>
inline constexpr int kTileFloats = kRows* kPitch<kHead>;
inline constexpr int kScorePitch = kRows + 4;
inline constexpr int kScoreFloats = kRows * kScorePitch;

/// A lane's part of one row: columns 4 (lane + 8 i) .. + 3.
template <int kHead>
using RowPart = float[kHead / (4 * kLanes)][4];

/// rows_of_source rows of HS elements, row_stride elements apart; the rest is zero.
template <int kHead, typename T>
__device__ __forceinline__ void load_tile(
    float* tile, const T* source, std::int64_t row_stride, std::int64_t rows_of_source, int HS) {
  for (int index = static_cast<int>(threadIdx.x); index < kRows * kHead; index += kThreads) {
    const int row = index / kHead;
    const int column = index % kHead;
    const bool valid = row < rows_of_source && column < HS;
    tile[row * kPitch<kHead> + column] =
        valid ? load_float(source + row * row_stride + column) : 0.0F;
  }
}

/// products[i] = row . (row lane + 8 i of tile).
template <int kHead>
__device__ __forceinline__ void multiply_with_rows(float (&products)[kScores],
                                                   const float* row,
                                                   const float* tile,
                                                   int lane) {
#pragma unroll
  for (int i = 0; i < kScores; ++i) products[i] = 0.0F;
#pragma unroll 4
  for (int column = 0; column < kHead; column += 4) {
    float left[4];
    load_vector(left, row + column);
#pragma unroll
    for (int i = 0; i < kScores; ++i) {
      float right[4];
      load_vector(right, tile + (lane + kLanes * i) * kPitch<kHead> + column);
#pragma unroll
      for (int j = 0; j < 4; ++j) products[i] = fmaf(left[j], right[j], products[i]);
    }
  }
}

/// sums += sum over rows j of weights[j] * tile[j].
template <int kHead>
__device__ __forceinline__ void add_weighted_rows(RowPart<kHead>& sums,
                                                  const float* weights,
                                                  const float* tile,
                                                  int lane) {
#pragma unroll 4
  for (int j = 0; j < kRows; ++j) {
    const float weight = weights[j];
#pragma unroll
    for (int i = 0; i < kHead / (4 * kLanes); ++i) {
      float value[4];
      load_vector(value, tile + j * kPitch<kHead> + 4 * (lane + kLanes * i));
#pragma unroll
      for (int c = 0; c < 4; ++c) sums[i][c] = fmaf(weight, value[c], sums[i][c]);
    }
  }
}

template <int kHead, typename T>
__device__ __forceinline__ void store_row(
    T* target, const RowPart<kHead>& sums, float factor, int lane, int HS) {
#pragma unroll
  for (int i = 0; i < kHead / (4 * kLanes); ++i) {
#pragma unroll
    for (int c = 0; c < 4; ++c) {
      const int column = 4 * (lane + kLanes * i) + c;
      if (column < HS) store_float(target + column, sums[i][c] * factor);
    }
  }
}

/// Over the eight lanes of a row.
__device__ __forceinline__ float sum_of_row(float value) {
#pragma unroll
  for (int offset = kLanes / 2; offset > 0; offset /= 2) {
    value += __shfl_xor_sync(kAllLanes, value, offset);
  }
  return value;
}
__device__ __forceinline__ float max_of_row(float value) {
#pragma unroll
  for (int offset = kLanes / 2; offset > 0; offset /= 2) {
    value = fmaxf(value, __shfl_xor_sync(kAllLanes, value, offset));
  }
  return value;
}

/// Calls function.operator()<kHead>() with the smallest kHead that holds HS columns.
template <typename Function>
void with_padded_head(std::int64_t HS, const Function& function) {
  if (HS <= 32) return function.template operator()<32>();
  if (HS <= 64) return function.template operator()<64>();
  if (HS <= 128) return function.template operator()<128>();
  return function.template operator()<256>();
}

}  // namespace halfpipe::cuda::float32
