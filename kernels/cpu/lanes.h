// SPDX-License-Identifier: Apache-2.0
// Sixteen float32 lanes, through the vector extension of GCC and Clang. A sum kept in lanes has the
// same order, and so the same bits, whatever vector width the machine has.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>

namespace halfpipe::cpu {

inline constexpr std::int64_t kLanes = 16;
using Lanes [[gnu::vector_size(64)]] = float;

// Without AVX-512 the calling convention of a 64-byte vector depends on the compiler's version, of
// which -Wpsabi warns at every call. These functions always inline, so no such call exists; the
// warning stays off for the rest of the file that includes this header, where the calls are.
#pragma GCC diagnostic ignored "-Wpsabi"

/// Reads pointer[0 .. width); lanes beyond width hold fill. No alignment needed.
[[gnu::always_inline]] inline Lanes load(const float* pointer,
                                         std::int64_t width = kLanes,
                                         float fill = 0.0F) {
  Lanes lanes;
  if (width >= kLanes) [[likely]] {
    std::memcpy(&lanes, pointer, sizeof(lanes));
  } else {
    for (std::int64_t i = 0; i < kLanes; ++i) lanes[i] = i < width ? pointer[i] : fill;
  }
  return lanes;
}

/// Writes pointer[0 .. width).
[[gnu::always_inline]] inline void store(float* pointer,
                                         const Lanes& lanes,
                                         std::int64_t width = kLanes) {
  if (width >= kLanes) [[likely]] {
    std::memcpy(pointer, &lanes, sizeof(lanes));
  } else {
    for (std::int64_t i = 0; i < width; ++i) pointer[i] = lanes[i];
  }
}

/// The sum of all lanes, halves first: (0 + 8), (1 + 9), ..., then quarters, and so on.
[[gnu::always_inline]] inline float sum(const Lanes& lanes) {
  std::array<float, kLanes> value;
  std::memcpy(value.data(), &lanes, sizeof(lanes));
  for (std::size_t half = kLanes / 2; half > 0; half /= 2) {
    for (std::size_t i = 0; i < half; ++i) value[i] += value[i + half];
  }
  return value[0];
}

}  // namespace halfpipe::cpu
