// SPDX-License-Identifier: Apache-2.0
// Bfloat16 on the host: every value, and every place between two of them where rounding turns.
#include "kernels/core/bfloat16.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace halfpipe {
namespace {

constexpr std::uint32_t kNumValues = 65536;
constexpr std::uint32_t kInfinity = 0x7f80;

BFloat16 value(std::uint32_t bits) {
  return {static_cast<std::uint16_t>(bits)};
}

bool is_finite(std::uint32_t bits) {
  return (bits & 0x7fffU) < kInfinity;
}

TEST(BFloat16, IsTheUpperHalfOfAFloat) {
  EXPECT_EQ(to_float(value(0x3f80)), 1.0F);
  EXPECT_EQ(to_float(value(0xc049)), -3.140625F);
  EXPECT_EQ(to_float(value(0x0001)), std::ldexp(1.0F, -133));  // the smallest above 0
  EXPECT_EQ(to_float(value(0x7f7f)), std::ldexp(255.0F, 120));
  EXPECT_EQ(to_float(value(kInfinity)), std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::signbit(to_float(value(0x8000))));
}

TEST(BFloat16, EveryValueComesBack) {
  for (std::uint32_t bits = 0; bits < kNumValues; ++bits) {
    const bool is_nan = (bits & 0x7fffU) > kInfinity;
    // NaN is made quiet.
    EXPECT_EQ(to_bfloat16(to_float(value(bits))), value(is_nan ? bits | 0x0040U : bits)) << bits;
  }
}

TEST(BFloat16, RoundsToTheNearestAndTiesToTheEvenOne) {
  for (std::uint32_t bits = 0; bits < kNumValues; ++bits) {
    if (!is_finite(bits)) continue;
    const auto rounded = [bits](std::uint32_t lower_half) {
      return to_bfloat16(std::bit_cast<float>((bits << 16) | lower_half));
    };
    const std::uint32_t away = bits + 1;  // from zero; beyond the largest it is infinity
    EXPECT_EQ(rounded(0x0001), value(bits)) << bits;
    EXPECT_EQ(rounded(0x7fff), value(bits)) << bits;
    EXPECT_EQ(rounded(0x8000), value(bits % 2 == 0 ? bits : away)) << bits;
    EXPECT_EQ(rounded(0x8001), value(away)) << bits;
    EXPECT_EQ(rounded(0xffff), value(away)) << bits;
  }
}

TEST(BFloat16, OverflowsToInfinity) {
  EXPECT_EQ(to_bfloat16(std::numeric_limits<float>::max()), value(kInfinity));
  EXPECT_EQ(to_bfloat16(-std::numeric_limits<float>::max()), value(0x8000U | kInfinity));
  EXPECT_EQ(to_bfloat16(std::numeric_limits<float>::infinity()), value(kInfinity));
}

TEST(BFloat16, NanStaysNanWhateverItsBits) {
  // Without care, the first would become infinity and the last zero.
  for (const std::uint32_t bits :
       {0x7f800001U, 0x7f80ffffU, 0x7fc00000U, 0xff800001U, 0x7fffffffU, 0xffffffffU}) {
    const BFloat16 rounded = to_bfloat16(std::bit_cast<float>(bits));
    EXPECT_TRUE(std::isnan(to_float(rounded))) << bits;
    EXPECT_EQ(rounded.bits >> 15, bits >> 31) << bits;
  }
}

}  // namespace
}  // namespace halfpipe
