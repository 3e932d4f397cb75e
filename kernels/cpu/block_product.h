// SPDX-License-Identifier: Apache-2.0
// Small matrix products on operands that are already in cache: the inner part of attention. Large
// products go through matmul.h; these are too small to pay for packing.
// Files that include this are built with -ffp-contract=fast: see register_tile.h.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/cpu/register_tile.h"

namespace halfpipe::cpu {

/// c[m, n] = sum_k a[m, k] b[k, n], or c[m, n] += that sum. b and c have contiguous rows of N
/// floats, N a multiple of kLanes; a has any strides, so that it may be a transposed operand. The
/// bits of an element do not depend on M and N.
struct BlockProduct {
  float* c;
  std::int64_t c_stride;  // floats from row to row
  const float* a;
  std::int64_t a_row_stride;
  std::int64_t a_k_stride;
  const float* b;
  std::int64_t b_stride;
  std::int64_t M;
  std::int64_t N;
  std::int64_t K;
  bool accumulate;
};

/// Lanes n .. n + kVectors * kVectorLanes of all rows.
template <std::int64_t kVectors>
inline void block_product_columns(const BlockProduct& p, std::int64_t n) {
  for (std::int64_t m = 0; m < p.M; m += kRegisterRows) {
    const RegisterOperands operands{
        p.a + m * p.a_row_stride, p.a_row_stride, p.a_k_stride, p.b + n, p.b_stride, p.K};
    float* const c = p.c + m * p.c_stride + n;
    with_row_count(std::min(p.M - m, kRegisterRows), [&](auto rows) {
      multiply_registers<rows.value, kVectors>(
          operands, [&](std::int64_t i, std::int64_t j, FloatVector sum) {
            float* const at = c + i * p.c_stride + j * kVectorLanes;
            store_vector(at, p.accumulate ? load_vector(at) + sum : sum);
          });
    });
  }
}

inline void block_product(const BlockProduct& p) {
  std::int64_t n = 0;
  for (; n + kRegisterColumns <= p.N; n += kRegisterColumns) {
    block_product_columns<kRegisterVectors>(p, n);
  }
  for (; n < p.N; n += kVectorLanes) block_product_columns<1>(p, n);
}

}  // namespace halfpipe::cpu
