// SPDX-License-Identifier: Apache-2.0
#include "engine/model/sample_token.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <vector>

namespace halfpipe::model {
namespace {

const std::vector<float> kLogits{0.0F, std::log(2.0F), std::log(5.0F), 3.0F};

TEST(SampleToken, TakesTheLikeliestAtTemperatureZero) {
  EXPECT_EQ(sample_token(kLogits, {0.0, 0, 4, 1}, 0), 3);
  EXPECT_EQ(sample_token(kLogits, {0.0, 0, 3, 1}, 0), 2);  // only the first three ids are allowed
}

TEST(SampleToken, FollowsTheSoftmax) {
  // Probabilities 1/8, 2/8, 5/8 over 8000 draws; the bound is five standard deviations.
  std::array<int, 3> counts{};
  for (std::uint64_t i = 0; i < 8000; ++i) {
    ++counts[static_cast<std::size_t>(sample_token(kLogits, {1.0, 0, 3, 9}, i))];
  }
  for (std::size_t token = 0; token < 3; ++token) {
    const double p = std::array{0.125, 0.25, 0.625}[token];
    EXPECT_NEAR(counts[token], 8000 * p, 5 * std::sqrt(8000 * p * (1 - p))) << token;
  }
}

TEST(SampleToken, ChoosesAmongTheKLikeliest) {
  for (std::uint64_t i = 0; i < 200; ++i) EXPECT_GE(sample_token(kLogits, {5.0, 2, 4, 3}, i), 2);
  EXPECT_EQ(sample_token(kLogits, {5.0, 1, 4, 3}, 7), 3);
}

TEST(SampleToken, DependsOnSeedAndPosition) {
  std::vector<std::int32_t> one, again, other;
  for (std::uint64_t i = 0; i < 50; ++i) {
    one.push_back(sample_token(kLogits, {1.0, 0, 4, 1}, i));
    again.push_back(sample_token(kLogits, {1.0, 0, 4, 1}, i));
    other.push_back(sample_token(kLogits, {1.0, 0, 4, 2}, i));
  }
  EXPECT_EQ(one, again);
  EXPECT_NE(one, other);
}

}  // namespace
}  // namespace halfpipe::model
