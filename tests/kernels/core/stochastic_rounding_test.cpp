// SPDX-License-Identifier: Apache-2.0
// Stochastic rounding: which way each of the 65536 numbers sends a value, that the mean is kept,
// and what names the numbers.
#include "kernels/core/stochastic_rounding.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <set>
#include <vector>

namespace halfpipe {
namespace {

constexpr std::uint32_t kNumbers = 65536;

float from_bits(std::uint32_t bits) {
  return std::bit_cast<float>(bits);
}

TEST(StochasticRounding, KeepsWhatBFloat16Has) {
  for (std::uint32_t upper = 0; upper < kNumbers; ++upper) {
    const bool is_nan = (upper & 0x7fffU) > 0x7f80U;
    for (const std::uint32_t random : {0U, 1U, kNumbers - 1}) {
      EXPECT_EQ(round_stochastically(from_bits(upper << 16), random).bits,
                is_nan ? upper | 0x0040U : upper)
          << upper;
    }
  }
}

TEST(StochasticRounding, GoesAwayFromZeroAsOftenAsItIsFarFromTheOther) {
  // Normal, about to change the exponent, subnormal; either sign.
  for (const std::uint32_t upper : {0x3f80U, 0x3fffU, 0x0000U, 0x0003U, 0x007fU, 0xc2f7U}) {
    for (const std::uint32_t lower : {0U, 1U, 0x4000U, 0x8000U, 0xffffU}) {
      const float value = from_bits(upper << 16 | lower);
      std::uint32_t num_away = 0;
      for (std::uint32_t random = 0; random < kNumbers; ++random) {
        const std::uint32_t rounded = round_stochastically(value, random).bits;
        ASSERT_TRUE(rounded == upper || rounded == upper + 1) << upper << " " << lower;
        num_away += rounded - upper;
      }
      EXPECT_EQ(num_away, lower) << upper;  // of 65536: the mean is the value itself
    }
  }
}

TEST(StochasticRounding, NoFiniteValueBecomesInfinite) {
  constexpr float kMost = std::numeric_limits<float>::max();
  for (const std::uint32_t random : {0U, 1U, 0x8000U, kNumbers - 1}) {
    EXPECT_EQ(round_stochastically(kMost, random).bits, 0x7f7f);
    EXPECT_EQ(round_stochastically(-kMost, random).bits, 0xff7f);
  }
  // Just below the largest there are two to choose from.
  EXPECT_EQ(round_stochastically(from_bits(0x7f7effff), 0).bits, 0x7f7e);
  EXPECT_EQ(round_stochastically(from_bits(0x7f7effff), 1).bits, 0x7f7f);
}

TEST(StochasticRounding, NanStaysNanWhateverItsBits) {
  for (const std::uint32_t bits : {0x7f800001U, 0x7f80ffffU, 0xff800001U, 0xffffffffU}) {
    for (const std::uint32_t random : {0U, kNumbers - 1}) {
      const BFloat16 rounded = round_stochastically(from_bits(bits), random);
      EXPECT_TRUE(std::isnan(to_float(rounded))) << bits;
      EXPECT_EQ(rounded.bits >> 15, bits >> 31) << bits;
    }
  }
}

TEST(RoundingWords, AreNamedBySeedParameterStepAndGroup) {
  const RoundingStream stream{.seed = 1, .parameter = 2, .step = 3};
  std::set<std::array<std::uint32_t, 4>> seen{rounding_words(stream, 4)};
  EXPECT_FALSE(seen.insert(rounding_words(stream, 4)).second);
  EXPECT_TRUE(seen.insert(rounding_words(stream, 5)).second);
  EXPECT_TRUE(seen.insert(rounding_words({.seed = 9, .parameter = 2, .step = 3}, 4)).second);
  EXPECT_TRUE(seen.insert(rounding_words({.seed = 1, .parameter = 9, .step = 3}, 4)).second);
  EXPECT_TRUE(seen.insert(rounding_words({.seed = 1, .parameter = 2, .step = 9}, 4)).second);
  EXPECT_TRUE(seen.insert(rounding_words({.seed = 1, .parameter = 3, .step = 2}, 4)).second);
}

// 2^20 numbers of each half. Means of numbers uniform in 0 .. 65535 have a standard deviation of
// 65536 / sqrt(12 * 2^20) = 18.5, and the correlation of two such series one of 2^-10: five of them
// are allowed.
TEST(RoundingWords, HalvesAreUniformAndIndependent) {
  constexpr std::uint64_t kGroups = std::uint64_t{1} << 18;
  constexpr double kCount = 4.0 * kGroups;
  constexpr double kMiddle = 32767.5;
  const RoundingStream stream{.seed = 42, .parameter = 7, .step = 1000};
  double sum_of_low = 0.0;
  double sum_of_high = 0.0;
  double products = 0.0;
  for (std::uint64_t group = 0; group < kGroups; ++group) {
    for (const std::uint32_t word : rounding_words(stream, group)) {
      const double low = (word & 0xffffU) - kMiddle;
      const double high = (word >> 16) - kMiddle;
      sum_of_low += low;
      sum_of_high += high;
      products += low * high;
    }
  }
  EXPECT_NEAR(sum_of_low / kCount, 0.0, 5.0 * 18.5);
  EXPECT_NEAR(sum_of_high / kCount, 0.0, 5.0 * 18.5);
  const double variance = 65536.0 * 65536.0 / 12.0;
  EXPECT_NEAR(products / kCount / variance, 0.0, 5.0 / 1024.0);
}

// A mean of squares that starts at 1 while the gradients are 0.5: with beta2 0.999 the first change
// is 0.00075, a fifth of the way to the next bfloat16.
TEST(StochasticRounding, LetsARunningMeanFollowSmallChanges) {
  constexpr float kBeta2 = 0.999F;
  constexpr float kSquare = 0.25F;
  constexpr int kSteps = 4000;
  constexpr std::uint64_t kGroups = 256;
  float exact = 1.0F;
  BFloat16 nearest = to_bfloat16(1.0F);
  std::vector<BFloat16> drawn(4 * kGroups, to_bfloat16(1.0F));
  const auto next = [](float v) { return kBeta2 * v + (1.0F - kBeta2) * kSquare; };
  for (std::uint32_t step = 1; step <= kSteps; ++step) {
    exact = next(exact);
    nearest = to_bfloat16(next(to_float(nearest)));
    for (std::uint64_t group = 0; group < kGroups; ++group) {
      const auto words = rounding_words({.seed = 1, .parameter = 0, .step = step}, group);
      for (std::size_t i = 0; i < words.size(); ++i) {
        BFloat16& v = drawn[4 * group + i];
        v = round_stochastically(next(to_float(v)), words[i] >> 16);
      }
    }
  }
  double mean = 0.0;
  for (const BFloat16 v : drawn) mean += to_float(v) / static_cast<double>(drawn.size());
  EXPECT_NEAR(exact, 0.264, 1e-3);
  EXPECT_EQ(to_float(nearest), 1.0F) << "it stays where it began";
  // Near 0.26 values are 2^-9 apart, so that a step's rounding has a deviation of at most 2^-10.
  // Those of all steps, which decay as v does, come to 22 times that (22^2 = 1 / (1 - beta2^2));
  // the mean of 1024 elements has 2^-5 of it: 7e-4.
  EXPECT_NEAR(mean, exact, 4.0 * 7e-4);
}

}  // namespace
}  // namespace halfpipe
