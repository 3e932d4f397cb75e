// SPDX-License-Identifier: Apache-2.0
// Sums with a fixed order, and the change of an element type.
#pragma once

#include <cstdint>

#include "kernels/core/bfloat16.h"
#include "kernels/core/dtype.h"

namespace halfpipe::ops {

/// Where an array may be cut into pieces whose sums of squares are those of the whole: each but the
/// last has a multiple of it. Every backend's block divides it.
inline constexpr std::int64_t kSquaresCut = 16384;

/// out[b] = the sum of x[i]^2 over block b, in float64. Blocks have a fixed number of elements, the
/// last one fewer; it and the order within a block depend on the backend alone. Overwrites out.
struct SumOfSquares {
  double* out;     // [num_square_blocks(count)]
  const float* x;  // [count]
  std::int64_t count;
};

/// dst[i] += src[i].
struct Accumulate {
  float* dst;        // [count]
  const float* src;  // [count]
  std::int64_t count;
};

/// dst[c] += sum_n x[n, c]: the gradient of a bias. The order of the additions depends on the
/// backend, the shape, dtype and whether addresses are multiples of 16 bytes, alone.
struct ColumnSum {
  float* dst;     // [C]
  const void* x;  // [N, C] dtype
  std::int64_t N;
  std::int64_t C;
  void* scratch;  // column_sum_scratch_bytes(args), contents undefined; null when that is 0
  DType dtype = DType::kFloat32;
};

/// out[n, c] = sum_k part_k[n, c] + bias[c] + residual[n, c], added in float32 in the order of the
/// parts, the bias and the residual last, rounded once: what a reduce-scatter between tensor ranks
/// ends with. part_k lies at parts + k N C elements, but for k = own_index, which is `own`.
/// Overwrites out, which may be the same pointer as residual or own.
struct SumParts {
  void* out;          // [N, C] dtype
  const void* parts;  // [num_parts, N, C] dtype; part own_index is not read
  const void* own;    // [N, C] dtype
  std::int64_t num_parts;
  std::int64_t own_index;
  const void* bias_or_null;      // [C] dtype
  const void* residual_or_null;  // [N, C] dtype
  std::int64_t N;
  std::int64_t C;
  DType dtype = DType::kFloat32;
};

/// dst[i] = src[i] rounded to the nearest bfloat16, ties to even. Overwrites dst; NaN stays NaN.
struct RoundToBFloat16 {
  BFloat16* dst;     // [count]
  const float* src;  // [count]
  std::int64_t count;
};

}  // namespace halfpipe::ops
