// SPDX-License-Identifier: Apache-2.0
// Rounding of sizes and counts.
#pragma once

#include <concepts>
#include <cstddef>

namespace halfpipe {

/// Every tensor that Halfpipe places starts at a multiple of this many bytes (a cache line; 16-byte
/// device loads fit too).
inline constexpr std::size_t kTensorAlignment = 64;

template <std::integral T>
[[nodiscard]] constexpr T ceil_div(T value, T divisor) {
  return (value + divisor - 1) / divisor;
}

template <std::integral T>
[[nodiscard]] constexpr T round_up(T value, T multiple) {
  return ceil_div(value, multiple) * multiple;
}

/// Bytes that a tensor of `bytes` occupies in an arena; plans and measurements both count this.
[[nodiscard]] constexpr std::size_t padded_bytes(std::size_t bytes) {
  return round_up(bytes, kTensorAlignment);
}

}  // namespace halfpipe
