// SPDX-License-Identifier: Apache-2.0
// Sums with a fixed order.
#pragma once

#include <cstdint>

namespace halfpipe::ops {

/// *out = sum_i x[i]^2 in float64. The order depends on count alone: blocks of a fixed size are
/// summed in element order and their sums added in block order. Overwrites *out, which is host
/// memory, valid when the stream has reached it.
struct SumOfSquares {
  double* out;     // [1], host
  const float* x;  // [count]
  std::int64_t count;
  void* scratch;  // sum_of_squares_scratch_bytes(count)
};

/// dst[i] += src[i].
struct Accumulate {
  float* dst;        // [count]
  const float* src;  // [count]
  std::int64_t count;
};

/// dst[c] += sum_n x[n, c], rows in order: the gradient of a bias.
struct ColumnSum {
  float* dst;      // [C]
  const float* x;  // [N, C]
  std::int64_t N;
  std::int64_t C;
};

}  // namespace halfpipe::ops
