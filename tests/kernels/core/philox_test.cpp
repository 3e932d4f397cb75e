// SPDX-License-Identifier: Apache-2.0
// Philox4x32-10 against the known answers that its authors publish, and the moments of what is
// made of it.
#include "kernels/core/philox.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <set>

namespace halfpipe {
namespace {

using Words = std::array<std::uint32_t, 4>;

// Random123, kat_vectors, philox4x32 with 10 rounds (Salmon et al. 2011).
TEST(Philox, MatchesKnownAnswers) {
  EXPECT_EQ(philox(0, 0, 0), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox(UINT64_MAX, UINT64_MAX, UINT64_MAX),
            (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
}

TEST(Philox, IsAConstantExpression) {
  static_assert(philox(0, 0)[0] == 0x6627e8d5);
  static_assert(hash_name("") == 0xcbf29ce484222325ULL);
}

TEST(Philox, EveryPartOfKeyAndCounterMatters) {
  std::set<Words> seen{philox(0, 0, 0)};
  for (int bit = 0; bit < 64; ++bit) {
    const std::uint64_t one = std::uint64_t{1} << bit;
    EXPECT_TRUE(seen.insert(philox(one, 0, 0)).second) << "bit " << bit << " of the key";
    EXPECT_TRUE(seen.insert(philox(0, one, 0)).second) << "bit " << bit << " of the low counter";
    EXPECT_TRUE(seen.insert(philox(0, 0, one)).second) << "bit " << bit << " of the high counter";
  }
}

// FNV-1a, 64 bits, known answers of its authors (Fowler, Noll, Vo).
TEST(HashName, MatchesKnownAnswers) {
  EXPECT_EQ(hash_name("a"), 0xaf63dc4c8601ec8cULL);
  EXPECT_EQ(hash_name("foobar"), 0x85944171f73967e8ULL);
}

TEST(UniformOpen, ExcludesBothEnds) {
  EXPECT_GT(uniform_open(0), 0.0);
  EXPECT_LT(uniform_open(UINT32_MAX), 1.0);
  EXPECT_EQ(uniform_open(0), 1.0 - uniform_open(UINT32_MAX));
}

TEST(StandardNormal, HasTheMomentsOfANormalDistribution) {
  constexpr std::uint64_t kCount = 200'000;
  double mean = 0.0;
  double square = 0.0;
  double fourth = 0.0;
  int beyond_two = 0;
  for (std::uint64_t i = 0; i < kCount; ++i) {
    const Words words = philox(/*key=*/7, i);
    const double z = standard_normal(words[0], words[1]);
    ASSERT_TRUE(std::isfinite(z));
    mean += z / kCount;
    square += z * z / kCount;
    fourth += z * z * z * z / kCount;
    beyond_two += std::abs(z) > 2.0 ? 1 : 0;
  }
  // Five standard errors each: sqrt(1 / n), sqrt(2 / n), sqrt(96 / n), sqrt(0.0434 / n).
  EXPECT_NEAR(mean, 0.0, 5.0 * std::sqrt(1.0 / kCount));
  EXPECT_NEAR(square, 1.0, 5.0 * std::sqrt(2.0 / kCount));
  EXPECT_NEAR(fourth, 3.0, 5.0 * std::sqrt(96.0 / kCount));
  EXPECT_NEAR(beyond_two / static_cast<double>(kCount), 0.0455, 5.0 * std::sqrt(0.0434 / kCount));
}

TEST(StandardNormal, IsFiniteForAllExtremeWords) {
  for (const std::uint32_t word0 : {0U, 1U, UINT32_MAX}) {
    for (const std::uint32_t word1 : {0U, 1U, 1U << 31U, UINT32_MAX}) {
      EXPECT_TRUE(std::isfinite(standard_normal(word0, word1)));
      EXPECT_LT(std::abs(standard_normal(word0, word1)), 7.0);
    }
  }
}

}  // namespace
}  // namespace halfpipe
