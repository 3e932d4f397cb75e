// SPDX-License-Identifier: Apache-2.0
// The accuracy that vector_math.h promises, over a grid of all magnitudes.
#include "kernels/cpu/vector_math.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace halfpipe::cpu {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

TEST(ExpApprox, IsWithinTwoUlpWhereTheResultIsNormal) {
  double worst = 0.0;
  const auto check = [&worst](float x) {
    const double exact = std::exp(static_cast<double>(x));
    const double ulp = std::ldexp(1.0, std::ilogb(static_cast<float>(exact)) - 23);
    worst = std::max(worst, std::abs(exp_approx(x) - exact) / ulp);
  };
  for (std::int64_t i = -87330; i <= 88720; ++i) check(static_cast<float>(i) * 1e-3F);
  // Every 997th float between 2^-40 and 64, of both signs.
  for (std::uint32_t bits = 0x2B800000U; bits < 0x42800000U; bits += 997) {
    check(std::bit_cast<float>(bits));
    check(-std::bit_cast<float>(bits));
  }
  EXPECT_LE(worst, 1.1);
}

TEST(ExpApprox, IsExactAtTheEnds) {
  EXPECT_EQ(exp_approx(0.0F), 1.0F);
  EXPECT_EQ(exp_approx(-0.0F), 1.0F);
  for (const float x : {-87.4F, -104.0F, -1e10F, -std::numeric_limits<float>::max(), -kInfinity}) {
    EXPECT_EQ(exp_approx(x), 0.0F) << x;
    EXPECT_FALSE(std::signbit(exp_approx(x))) << x;
  }
  for (const float x : {88.73F, 100.0F, std::numeric_limits<float>::max(), kInfinity}) {
    EXPECT_EQ(exp_approx(x), kInfinity) << x;
  }
  EXPECT_TRUE(std::isnan(exp_approx(std::numeric_limits<float>::quiet_NaN())));
  EXPECT_TRUE(std::isnan(exp_approx(-std::numeric_limits<float>::quiet_NaN())));
}

TEST(ExpBelow, HasTheBitsOfExpApprox) {
  for (std::int64_t i = -90000; i <= 88020; ++i) {
    const float x = static_cast<float>(i) * 1e-3F;
    ASSERT_EQ(exp_below(x), exp_approx(x)) << x;
  }
  EXPECT_EQ(exp_below(-kInfinity), 0.0F);
  EXPECT_TRUE(std::isnan(exp_below(std::numeric_limits<float>::quiet_NaN())));
}

TEST(ExpInRange, HasTheBitsOfExpApprox) {
  for (std::int64_t i = -87330; i <= 88020; ++i) {
    const float x = static_cast<float>(i) * 1e-3F;
    ASSERT_EQ(exp_in_range(x), exp_approx(x)) << x;
  }
  EXPECT_TRUE(std::isnan(exp_in_range(std::numeric_limits<float>::quiet_NaN())));
}

}  // namespace
}  // namespace halfpipe::cpu
