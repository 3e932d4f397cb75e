// SPDX-License-Identifier: Apache-2.0
// Bfloat16 on the host: float32 with 7 bits of fraction instead of 23, same exponent range.
#pragma once

#include <bit>
#include <cstdint>

namespace halfpipe {

/// Storage only; arithmetic happens in float32.
struct BFloat16 {
  std::uint16_t bits;

  friend bool operator==(const BFloat16&, const BFloat16&) = default;
};
static_assert(sizeof(BFloat16) == 2);

[[nodiscard]] constexpr float to_float(BFloat16 value) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(value.bits) << 16);
}

/// To the nearest, ties to the even one, as CUDA and oneDNN round. NaN stays NaN (made quiet);
/// values beyond the largest bfloat16 become infinite.
[[nodiscard]] constexpr BFloat16 to_bfloat16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7fffffffU) > 0x7f800000U) {
    return {static_cast<std::uint16_t>((bits >> 16) | 0x0040U)};
  }
  const std::uint32_t rounding = 0x7fffU + ((bits >> 16) & 1U);
  return {static_cast<std::uint16_t>((bits + rounding) >> 16)};
}

}  // namespace halfpipe
