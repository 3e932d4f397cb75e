// SPDX-License-Identifier: Apache-2.0
// Small products of bfloat16 by instructions that multiply pairs: two terms of a sum, side by side
// in 32 bits, are multiplied and added to a float32 sum at once (AVX512_BF16: VDPBF16PS). Such
// machines flush subnormal operands and results to 0 there. On all others the same is computed
// step by step, for tests.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <utility>

#include "kernels/core/align.h"
#include "kernels/core/bfloat16.h"
#include "kernels/cpu/lanes.h"
#include "kernels/cpu/register_tile.h"

#if defined(__AVX512BF16__)
#include <immintrin.h>
#endif

namespace halfpipe::cpu {

#if defined(__AVX512BF16__)
inline constexpr bool kMultipliesPairs = true;
#else
inline constexpr bool kMultipliesPairs = false;
#endif

/// A pair in every lane, its first term in the lower half.
using PairVector = WordVector;
// Rows of a full tile of sums, of kRegisterVectors vectors: AVX-512 has registers for 24 sums,
// which read the least of b.
#if defined(__AVX512F__)
inline constexpr std::int64_t kPairRows = 12;
#else
inline constexpr std::int64_t kPairRows = kRegisterRows;
#endif
using PairsOfAllLanes [[gnu::vector_size(kLanes * 4)]] = std::uint16_t;

[[gnu::always_inline]] inline PairVector load_pairs(const BFloat16* pairs) {
  PairVector vector;
  std::memcpy(&vector, pairs, sizeof(vector));
  return vector;
}
/// The same pair in all lanes.
[[gnu::always_inline]] inline PairVector broadcast_pair(const BFloat16* pair) {
  std::uint32_t word;
  std::memcpy(&word, pair, sizeof(word));
  return word - PairVector{};
}

/// sum + a.second * b.second + a.first * b.first, lane by lane.
[[gnu::always_inline]] inline FloatVector add_pair_products(FloatVector sum,
                                                            PairVector a,
                                                            PairVector b) {
#if defined(__AVX512BF16__)
  return reinterpret_cast<FloatVector>(_mm512_dpbf16_ps(
      reinterpret_cast<__m512>(sum), reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b)));
#else
  sum += reinterpret_cast<FloatVector>(a & 0xffff0000U) *
         reinterpret_cast<FloatVector>(b & 0xffff0000U);
  return sum + reinterpret_cast<FloatVector>(a << 16) * reinterpret_cast<FloatVector>(b << 16);
#endif
}

/// dst[i] = src[i], rounded to nearest, for i in [0, count), count a multiple of 32. Subnormal
/// numbers may become 0.
inline void round_lanes(const float* src, std::int64_t count, BFloat16* dst) {
#if defined(__AVX512BF16__)
  for (std::int64_t i = 0; i < count; i += 32) {
    const auto rounded =
        _mm512_cvtne2ps_pbh(_mm512_loadu_ps(src + i + 16), _mm512_loadu_ps(src + i));
    std::memcpy(dst + i, &rounded, sizeof(rounded));
  }
#else
  convert(src, count, dst);
#endif
}

#if defined(__AVX512BF16__)
/// dst[0 .. 32) = first and second, rounded as round_lanes does. streamed: past the caches, to a
/// line of memory at dst; other threads see it after finish_streams().
[[gnu::always_inline]] inline void store_rounded(const Lanes& first,
                                                 const Lanes& second,
                                                 BFloat16* dst,
                                                 bool streamed) {
  const auto rounded = _mm512_cvtne2ps_pbh(reinterpret_cast<__m512>(second.vector[0]),
                                           reinterpret_cast<__m512>(first.vector[0]));
  if (streamed) {
    _mm512_stream_si512(reinterpret_cast<__m512i*>(dst), reinterpret_cast<__m512i>(rounded));
  } else {
    std::memcpy(dst, &rounded, sizeof(rounded));
  }
}
#endif

inline void finish_streams() {
#if defined(__AVX512BF16__)
  _mm_sfence();
#endif
}

/// pairs[i] = {first[i], second[i]} for i in [0, count), or {first[i], 0} without a second.
[[gnu::always_inline]] inline void interleave(const BFloat16* first,
                                              const BFloat16* second_or_null,
                                              std::int64_t count,
                                              BFloat16* pairs) {  // [count, 2]
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    AllHalfWords a;
    AllHalfWords b{};
    std::memcpy(&a, first + i, sizeof(a));
    if (second_or_null != nullptr) std::memcpy(&b, second_or_null + i, sizeof(b));
    const PairsOfAllLanes both =
        __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23, 8, 24,
                                9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    std::memcpy(pairs + 2 * i, &both, sizeof(both));
  }
  for (; i < count; ++i) {
    pairs[2 * i] = first[i];
    pairs[2 * i + 1] = second_or_null != nullptr ? second_or_null[i] : BFloat16{};
  }
}

/// pairs[r, i] = {rows[2 r, i], rows[2 r + 1, i]}; a last row without another is paired with zeros.
inline void interleave_rows(const BFloat16* rows,
                            std::int64_t row_stride,
                            std::int64_t num_rows,
                            std::int64_t width,
                            BFloat16* pairs,  // [ceil(num_rows / 2), pair_stride / 2, 2]
                            std::int64_t pair_stride) {
  std::int64_t row = 0;
  for (; row + 2 <= num_rows; row += 2, pairs += pair_stride) {
    interleave(rows + row * row_stride, rows + (row + 1) * row_stride, width, pairs);
  }
  if (row < num_rows) interleave(rows + row * row_stride, nullptr, width, pairs);
}

/// c[m, n] = sum_k a[m, k] b[k, n], or c[m, n] += that sum, over num_pairs pairs of k. Pair p of
/// row m of a is at a + m * a_row_stride + p * a_pair_stride; b has pairs p of all columns side by
/// side, [N, 2], at b + p * b_pair_stride. N is a multiple of kVectorLanes. The bits of an element
/// do not depend on M and N.
struct PairProduct {
  float* c;
  std::int64_t c_stride;  // floats from row to row
  const BFloat16* a;
  std::int64_t a_row_stride;  // elements, here and below
  std::int64_t a_pair_stride;
  const BFloat16* b;
  std::int64_t b_pair_stride;
  std::int64_t M;
  std::int64_t N;
  std::int64_t num_pairs;
  bool accumulate;
};

/// Pair p of row i of a is at a + i * a_row_stride + p * a_pair_stride, pairs p of all columns of b
/// at b + p * b_pair_stride; strides in elements.
struct PairOperands {
  const BFloat16* a;
  std::int64_t a_row_stride;
  std::int64_t a_pair_stride;
  const BFloat16* b;
  std::int64_t b_pair_stride;
  std::int64_t num_pairs;
};

/// As multiply_registers() of register_tile.h.
template <std::int64_t kRows, std::int64_t kVectors, typename Store>
[[gnu::always_inline]] inline void multiply_pair_registers(const PairOperands& p,
                                                           const Store& store) {
  FloatVector sums[kRows][kVectors] = {};
  // Three rows to a pointer: x86 addresses them by one register of strides.
  constexpr std::int64_t kRowsToAPointer = 3;
  const BFloat16* a[ceil_div(kRows, kRowsToAPointer)];
  for (std::int64_t i = 0; i < kRows; i += kRowsToAPointer) {
    a[i / kRowsToAPointer] = p.a + i * p.a_row_stride;
  }
  const BFloat16* b = p.b;
#pragma GCC unroll 2
  for (std::int64_t k = 0; k < p.num_pairs; ++k, b += p.b_pair_stride) {
    PairVector b_row[kVectors];
#pragma GCC unroll 4
    for (std::int64_t j = 0; j < kVectors; ++j) {
      PairVector vector = load_pairs(b + 2 * j * kVectorLanes);
#if defined(__AVX512F__)
      asm("" : "+v"(vector));  // see register_tile.h
#endif
      b_row[j] = vector;
    }
#pragma GCC unroll 16
    for (std::int64_t i = 0; i < kRows; ++i) {
      const PairVector factor =
          broadcast_pair(a[i / kRowsToAPointer] + i % kRowsToAPointer * p.a_row_stride);
#pragma GCC unroll 4
      for (std::int64_t j = 0; j < kVectors; ++j) {
        sums[i][j] = add_pair_products(sums[i][j], factor, b_row[j]);
      }
    }
#pragma GCC unroll 16
    for (const BFloat16*& pointer : a) {
      pointer += p.a_pair_stride;
      asm("" : "+r"(pointer));  // else g++ 12 keeps one pointer and eleven offsets
    }
  }
  [&]<std::int64_t... index>(std::integer_sequence<std::int64_t, index...>) {
    (store(index / kVectors, index % kVectors, sums[index / kVectors][index % kVectors]), ...);
  }
  (std::make_integer_sequence<std::int64_t, kRows * kVectors>{});
}

/// Columns n .. n + kVectors * kVectorLanes of all rows.
template <std::int64_t kVectors>
inline void pair_product_columns(const PairProduct& p, std::int64_t n) {
  for (std::int64_t m = 0; m < p.M; m += kPairRows) {
    const PairOperands operands{p.a + m * p.a_row_stride, p.a_row_stride,
                                p.a_pair_stride,          p.b + 2 * n,
                                p.b_pair_stride,          p.num_pairs};
    float* const c = p.c + m * p.c_stride + n;
    with_row_count<kPairRows>(std::min(p.M - m, kPairRows), [&](auto rows) {
      multiply_pair_registers<rows.value, kVectors>(
          operands, [&](std::int64_t i, std::int64_t j, FloatVector sum) {
            float* const at = c + i * p.c_stride + j * kVectorLanes;
            store_vector(at, p.accumulate ? load_vector(at) + sum : sum);
          });
    });
  }
}

inline void pair_product(const PairProduct& p) {
  std::int64_t n = 0;
  for (; n + kRegisterColumns <= p.N; n += kRegisterColumns) {
    pair_product_columns<kRegisterVectors>(p, n);
  }
  for (; n < p.N; n += kVectorLanes) pair_product_columns<1>(p, n);
}

}  // namespace halfpipe::cpu
