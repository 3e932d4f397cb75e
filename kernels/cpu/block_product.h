// SPDX-License-Identifier: Apache-2.0
// Small matrix products on operands that are already in cache: the inner part of attention. Large
// products go through matmul.h; these are too small to pay for a library call and its packing.
// Files that include this are built with -ffp-contract=fast: multiply and add in one instruction.
#pragma once

#include <cstdint>
#include <cstring>

#include "kernels/cpu/lanes.h"

namespace halfpipe::cpu {

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpsabi"  // see lanes.h

/// c[m, n] = sum_k a[m, k] b[k, n], or c[m, n] += that sum. b and c have contiguous rows of N
/// floats, N a multiple of kLanes; a has any strides, so that it may be a transposed operand. Each
/// element adds its terms in the order of k, from c or from 0: its bits do not depend on M and N.
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

// Sums are kept in vectors as wide as the machine's registers: of wider ones g++ 12 makes memory.
// 8 x 2 of 64 bytes are 16 of AVX-512's 32 registers. 4 x 2 of 32 bytes are 8 of AVX2's 16, as many
// as two multiply-adds a cycle with a latency of four keep busy.
#if defined(__AVX512F__)
using Register = Lanes;
inline constexpr int kBlockRows = 8;
inline constexpr int kBlockVectors = 2;
#else
using Register [[gnu::vector_size(32)]] = float;
inline constexpr int kBlockRows = 4;
inline constexpr int kBlockVectors = 2;
#endif
inline constexpr std::int64_t kRegisterLanes = sizeof(Register) / sizeof(float);
static_assert(kLanes % kRegisterLanes == 0);

[[gnu::always_inline]] inline Register load_register(const float* pointer) {
  Register lanes;
  std::memcpy(&lanes, pointer, sizeof(lanes));
  return lanes;
}

/// Rows m .. m + kRows and lanes n .. n + kVectors * kRegisterLanes, sums in registers.
template <int kRows, int kVectors>
[[gnu::always_inline]] inline void block_product_tile(const BlockProduct& p,
                                                      std::int64_t m,
                                                      std::int64_t n) {
  Register sums[kRows][kVectors];
  float* const c = p.c + m * p.c_stride + n;
#pragma GCC unroll 8
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) {
      sums[i][j] =
          p.accumulate ? load_register(c + i * p.c_stride + j * kRegisterLanes) : Register{};
    }
  }
  const float* a = p.a + m * p.a_row_stride;
  const float* b = p.b + n;
  for (std::int64_t k = 0; k < p.K; ++k, a += p.a_k_stride, b += p.b_stride) {
    Register b_row[kVectors];
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) b_row[j] = load_register(b + j * kRegisterLanes);
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i) {
      const float factor = a[i * p.a_row_stride];
#pragma GCC unroll 4
      for (int j = 0; j < kVectors; ++j) {
        sums[i][j] += factor * b_row[j];
      }
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) {
      std::memcpy(c + i * p.c_stride + j * kRegisterLanes, &sums[i][j], sizeof(Register));
    }
  }
}

template <int kVectors>
inline void block_product_columns(const BlockProduct& p, std::int64_t n) {
  std::int64_t m = 0;
  for (; m + kBlockRows <= p.M; m += kBlockRows) block_product_tile<kBlockRows, kVectors>(p, m, n);
  for (; m < p.M; ++m) block_product_tile<1, kVectors>(p, m, n);
}

inline void block_product(const BlockProduct& p) {
  constexpr std::int64_t kWidth = kBlockVectors * kRegisterLanes;
  std::int64_t n = 0;
  for (; n + kWidth <= p.N; n += kWidth) block_product_columns<kBlockVectors>(p, n);
  for (; n < p.N; n += kRegisterLanes) block_product_columns<1>(p, n);
}

#pragma GCC diagnostic pop

}  // namespace halfpipe::cpu
