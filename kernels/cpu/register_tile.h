// SPDX-License-Identifier: Apache-2.0
// The innermost part of every float32 product written here: a tile of sums that stays in vector
// registers while the terms pass (the micro-kernel of Van Zee and van de Geijn 2015, BLIS).
// Files that include this are built with -ffp-contract=fast: multiply and add in one instruction.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#include "kernels/cpu/lanes.h"

namespace halfpipe::cpu {

// Rows and vectors of a full tile. AVX2 has 16 registers: 12 sums, 2 vectors of b, 1 of a. They are
// more than the 8 that two multiply-adds a cycle with a latency of four need, and ask for 8 loads
// in 6 cycles; 4 x 3 reached 73 % of 6 x 2 on an AMD EPYC (Zen 3). 8 x 2 are half of AVX-512's.
#if defined(__AVX512F__)
inline constexpr std::int64_t kRegisterRows = 8;
inline constexpr std::int64_t kRegisterVectors = 2;
#elif defined(__AVX__)
inline constexpr std::int64_t kRegisterRows = 6;
inline constexpr std::int64_t kRegisterVectors = 2;
#else
inline constexpr std::int64_t kRegisterRows = 2;
inline constexpr std::int64_t kRegisterVectors = 4;
#endif
inline constexpr std::int64_t kRegisterColumns = kRegisterVectors * kVectorLanes;
static_assert(kRegisterColumns % kLanes == 0);

[[gnu::always_inline]] inline FloatVector load_vector(const float* pointer) {
  FloatVector vector;
  std::memcpy(&vector, pointer, sizeof(vector));
  return vector;
}
[[gnu::always_inline]] inline void store_vector(float* pointer, FloatVector vector) {
  std::memcpy(pointer, &vector, sizeof(vector));
}

/// Element (i, k) of a is a[i * a_row_stride + k * a_k_stride], element (k, j) of b is
/// b[k * b_stride + j].
struct RegisterOperands {
  const float* a;
  std::int64_t a_row_stride;
  std::int64_t a_k_stride;
  const float* b;
  std::int64_t b_stride;
  std::int64_t K;
};

/// Calls store(i, j, vector) for row i < kRows and vector j < kVectors of the product. Each element
/// adds its terms in the order of k, from 0: its bits do not depend on the tile around it.
template <std::int64_t kRows, std::int64_t kVectors, typename Store>
[[gnu::always_inline]] inline void multiply_registers(const RegisterOperands& p,
                                                      const Store& store) {
  FloatVector sums[kRows][kVectors] = {};
  const float* a = p.a;
  const float* b = p.b;
#pragma GCC unroll 8
  for (std::int64_t k = 0; k < p.K; ++k, a += p.a_k_stride, b += p.b_stride) {
    FloatVector b_row[kVectors];
#pragma GCC unroll 4
    for (std::int64_t j = 0; j < kVectors; ++j) {
      b_row[j] = load_vector(b + j * kVectorLanes);
#if defined(__x86_64__)
      // Keeps it in a register: g++ 12 may read it again for every row: training on two cores of
      // an AMD EPYC (Zen 3) was slower by a fifth.
      asm("" : "+x"(b_row[j]));
#endif
    }
#pragma GCC unroll 8
    for (std::int64_t i = 0; i < kRows; ++i) {
      const float factor = a[i * p.a_row_stride];
#pragma GCC unroll 4
      for (std::int64_t j = 0; j < kVectors; ++j) sums[i][j] += factor * b_row[j];
    }
  }
  // Unrolled by the language: where store has choices in it, g++ 12 leaves a loop over sums in
  // memory whatever a pragma says.
  [&]<std::int64_t... index>(std::integer_sequence<std::int64_t, index...>) {
    (store(index / kVectors, index % kVectors, sums[index / kVectors][index % kVectors]), ...);
  }
  (std::make_integer_sequence<std::int64_t, kRows * kVectors>{});
}

/// Calls body(std::integral_constant<std::int64_t, n>) for n = num_rows in 1 .. kRegisterRows.
template <std::int64_t kRows = kRegisterRows, typename Body>
[[gnu::always_inline]] inline void with_row_count(std::int64_t num_rows, const Body& body) {
  if constexpr (kRows == 1) {
    body(std::integral_constant<std::int64_t, 1>{});
  } else if (num_rows == kRows) {
    body(std::integral_constant<std::int64_t, kRows>{});
  } else {
    with_row_count<kRows - 1>(num_rows, body);
  }
}

}  // namespace halfpipe::cpu
