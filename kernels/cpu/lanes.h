// SPDX-License-Identifier: Apache-2.0
// Sixteen float32 lanes, through the vector extension of GCC and Clang, read from and written to
// float or BFloat16. A sum kept in lanes has the same order, and so the same bits, whatever vector
// width the machine has.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "kernels/core/bfloat16.h"
#include "kernels/cpu/element_type.h"

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace halfpipe::cpu {

inline constexpr std::int64_t kLanes = 16;

// Vectors as wide as the machine's registers: wider ones g++ 12 keeps in memory. layer_norm forward
// of [2048, 384] in float32 on one core of an AMD EPYC (Zen 3): 2.3 ns per element with 64-byte
// vectors, 0.4 ns with 32-byte ones.
#if defined(__AVX512F__)
inline constexpr std::int64_t kVectorLanes = 16;
#elif defined(__AVX__)
inline constexpr std::int64_t kVectorLanes = 8;
#else
inline constexpr std::int64_t kVectorLanes = 4;
#endif
inline constexpr int kVectorsOfLanes = kLanes / kVectorLanes;
using FloatVector [[gnu::vector_size(kVectorLanes * 4)]] = float;
using WordVector [[gnu::vector_size(kVectorLanes * 4)]] = std::uint32_t;
// Half as many lanes.
using DoubleVector [[gnu::vector_size(kVectorLanes * 4)]] = double;
using HalfFloatVector [[gnu::vector_size(kVectorLanes * 2)]] = float;
// All sixteen, to widen and narrow in one piece: g++ 12 splits that well into 32-byte vectors, and
// takes four instructions to widen eight half words by themselves, where the machine has one.
using AllWords [[gnu::vector_size(kLanes * 4)]] = std::uint32_t;
using AllHalfWords [[gnu::vector_size(kLanes * 2)]] = std::uint16_t;

// The calling convention of a vector depends on the compiler's version where the machine has no
// such registers, of which -Wpsabi warns at every call. These functions always inline, so no such
// call exists; the warning stays off for the rest of the file that includes this header, where the
// calls are.
#pragma GCC diagnostic ignored "-Wpsabi"

/// Lane-wise arithmetic; a number stands for sixteen of it. Lanes{} is zero.
struct Lanes {
  FloatVector vector[kVectorsOfLanes];

  Lanes() = default;
  [[gnu::always_inline]] Lanes(float value) {
    for (FloatVector& v : vector) v = value - FloatVector{};
  }

  [[gnu::always_inline]] Lanes& operator+=(const Lanes& other) {
    for (int i = 0; i < kVectorsOfLanes; ++i) vector[i] += other.vector[i];
    return *this;
  }
  [[gnu::always_inline]] Lanes& operator-=(const Lanes& other) {
    for (int i = 0; i < kVectorsOfLanes; ++i) vector[i] -= other.vector[i];
    return *this;
  }
  [[gnu::always_inline]] Lanes& operator*=(const Lanes& other) {
    for (int i = 0; i < kVectorsOfLanes; ++i) vector[i] *= other.vector[i];
    return *this;
  }
  [[gnu::always_inline]] friend Lanes operator+(Lanes a, const Lanes& b) { return a += b; }
  [[gnu::always_inline]] friend Lanes operator-(Lanes a, const Lanes& b) { return a -= b; }
  [[gnu::always_inline]] friend Lanes operator*(Lanes a, const Lanes& b) { return a *= b; }
};
static_assert(sizeof(Lanes) == kLanes * sizeof(float));

/// a where it is greater, else b: a NaN in a is passed over.
[[gnu::always_inline]] inline Lanes greater_of(const Lanes& a, const Lanes& b) {
  Lanes result;
  for (int i = 0; i < kVectorsOfLanes; ++i) {
    result.vector[i] = a.vector[i] > b.vector[i] ? a.vector[i] : b.vector[i];
  }
  return result;
}

[[gnu::always_inline]] inline Lanes load_all(const float* pointer) {
  Lanes lanes;
  for (int i = 0; i < kVectorsOfLanes; ++i) {
    std::memcpy(&lanes.vector[i], pointer + i * kVectorLanes, sizeof(FloatVector));
  }
  return lanes;
}
[[gnu::always_inline]] inline Lanes load_all(const BFloat16* pointer) {
#if defined(__AVX512F__)
  // g++ 12 widens in halves, which takes five instructions more.
  __m256i upper_halves;
  std::memcpy(&upper_halves, pointer, sizeof(upper_halves));
  const __m512i words = _mm512_maskz_cvtepu16_epi32(0xffff, upper_halves);
  return std::bit_cast<Lanes>(reinterpret_cast<WordVector>(words) << 16);
#else
  AllHalfWords upper_halves;
  std::memcpy(&upper_halves, pointer, sizeof(upper_halves));
  return std::bit_cast<Lanes>(__builtin_convertvector(upper_halves, AllWords) << 16);
#endif
}

[[gnu::always_inline]] inline void store_all(float* pointer, const Lanes& lanes) {
  for (int i = 0; i < kVectorsOfLanes; ++i) {
    std::memcpy(pointer + i * kVectorLanes, &lanes.vector[i], sizeof(FloatVector));
  }
}
/// Rounds as to_bfloat16 does.
[[gnu::always_inline]] inline void store_all(BFloat16* pointer, const Lanes& lanes) {
#if defined(__AVX512BF16__) && defined(__AVX512DQ__)
  // The machine's own rounding makes subnormal numbers 0, which to_bfloat16 does not.
  constexpr int kSubnormal = 0x20;
  const auto values = reinterpret_cast<__m512>(lanes.vector[0]);
  if (_mm512_fpclass_ps_mask(values, kSubnormal) == 0) [[likely]] {
    const __m256bh nearest = _mm512_cvtneps_pbh(values);
    std::memcpy(pointer, &nearest, sizeof(nearest));
    return;
  }
#endif
  WordVector rounded[kVectorsOfLanes];
  for (int i = 0; i < kVectorsOfLanes; ++i) {
    const FloatVector value = lanes.vector[i];
    const auto bits = reinterpret_cast<WordVector>(value);
    const WordVector nearest = bits + (0x7fffU + ((bits >> 16) & 1U));
    rounded[i] = value == value ? nearest : bits | 0x00400000U;
  }
  AllWords words;
  std::memcpy(&words, rounded, sizeof(words));
  const AllHalfWords upper_halves = __builtin_convertvector(words >> 16, AllHalfWords);
  std::memcpy(pointer, &upper_halves, sizeof(upper_halves));
}

/// Reads pointer[0 .. width), float or BFloat16; lanes beyond width hold fill. No alignment needed.
template <typename T>
[[gnu::always_inline]] inline Lanes load(const T* pointer,
                                         std::int64_t width = kLanes,
                                         float fill = 0.0F) {
  if (width >= kLanes) [[likely]]
    return load_all(pointer);
  std::array<float, kLanes> value;
  value.fill(fill);
  for (std::int64_t i = 0; i < width; ++i) {
    value[static_cast<std::size_t>(i)] = to_float(pointer[i]);
  }
  return load_all(value.data());
}

/// Writes pointer[0 .. width), float or BFloat16.
template <typename T>
[[gnu::always_inline]] inline void store(T* pointer,
                                         const Lanes& lanes,
                                         std::int64_t width = kLanes) {
  if (width >= kLanes) [[likely]] {
    store_all(pointer, lanes);
    return;
  }
  std::array<T, kLanes> value;
  store_all(value.data(), lanes);
  std::copy_n(value.data(), width, pointer);
}

/// The sum of all lanes, halves first: (0 + 8), (1 + 9), ..., then quarters, and so on.
[[gnu::always_inline]] inline float sum(const Lanes& lanes) {
  std::array<float, kLanes> value;
  std::memcpy(value.data(), lanes.vector, sizeof(lanes));
  for (std::size_t half = kLanes / 2; half > 0; half /= 2) {
    for (std::size_t i = 0; i < half; ++i) value[i] += value[i + half];
  }
  return value[0];
}

/// Sixteen lanes in float64, for sums of many.
struct Float64Lanes {
  DoubleVector vector[2 * kVectorsOfLanes]{};

  [[gnu::always_inline]] void add(const Lanes& lanes) {
    std::array<float, kLanes> value;
    store_all(value.data(), lanes);
    for (int i = 0; i < 2 * kVectorsOfLanes; ++i) {
      HalfFloatVector half;
      std::memcpy(&half, value.data() + i * kVectorLanes / 2, sizeof(half));
      vector[i] += __builtin_convertvector(half, DoubleVector);
    }
  }
  [[nodiscard]] [[gnu::always_inline]] std::array<double, kLanes> values() const {
    return std::bit_cast<std::array<double, kLanes>>(*this);
  }
  /// Of all lanes, one after the other.
  [[nodiscard]] [[gnu::always_inline]] double sum() const {
    double total = 0.0;
    for (const double value : values()) total += value;
    return total;
  }
};

/// Runs body(i, width) at i = begin, begin + kLanes, ... below end. width is the constant kLanes,
/// as a type, as long as that many are left, so that loads and stores need not ask; a number at the
/// end.
template <typename Body>
[[gnu::always_inline]] inline void for_each_lanes(std::int64_t begin,
                                                  std::int64_t end,
                                                  const Body& body) {
  std::int64_t i = begin;
  for (; i + kLanes <= end; i += kLanes) body(i, std::integral_constant<std::int64_t, kLanes>{});
  if (i < end) body(i, end - i);
}

/// dst[i] = src[i], each of them float or BFloat16, for i in [0, count).
template <typename From, typename To>
inline void convert(const From* src, std::int64_t count, To* dst) {
  for_each_lanes(0, count,
                 [&](std::int64_t i, auto width) { store(dst + i, load(src + i, width), width); });
}

/// pointer[0 .. count) as float32: in place, or widened into buffer[0 .. count).
[[gnu::always_inline]] inline const float* as_floats(const float* pointer,
                                                     std::int64_t /*count*/,
                                                     float* /*buffer*/) {
  return pointer;
}
[[gnu::always_inline]] inline const float* as_floats(const BFloat16* pointer,
                                                     std::int64_t count,
                                                     float* buffer) {
  convert(pointer, count, buffer);
  return buffer;
}

}  // namespace halfpipe::cpu
