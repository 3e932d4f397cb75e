// SPDX-License-Identifier: Apache-2.0
// The Feistel permutation: a bijection for every size, different for every key, spread out.
#include "engine/data/permutation.h"

#include "kernels/core/error.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <set>
#include <vector>

namespace halfpipe::data {
namespace {

std::vector<std::int64_t> order(std::int64_t size, std::uint64_t key) {
  const Permutation permutation(size, key);
  std::vector<std::int64_t> result;
  for (std::int64_t i = 0; i < size; ++i) result.push_back(permutation(i));
  return result;
}

TEST(Permutation, IsABijectionForEverySizeUpTo300) {
  for (std::int64_t size = 1; size <= 300; ++size) {
    for (const std::uint64_t key : {0ULL, 1ULL, ~0ULL}) {
      const auto images = order(size, key);
      const std::set<std::int64_t> distinct(images.begin(), images.end());
      EXPECT_EQ(static_cast<std::int64_t>(distinct.size()), size) << key;
      EXPECT_EQ(*distinct.begin(), 0);
      EXPECT_EQ(*distinct.rbegin(), size - 1);
    }
  }
}

class LargeSizes : public testing::TestWithParam<std::int64_t> {};

TEST_P(LargeSizes, AreBijections) {
  std::vector<bool> hit(static_cast<std::size_t>(GetParam()), false);
  for (const std::int64_t image : order(GetParam(), 42)) {
    ASSERT_FALSE(hit[static_cast<std::size_t>(image)]);
    hit[static_cast<std::size_t>(image)] = true;
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes,
                         LargeSizes,
                         testing::Values(4095, 4096, 4097, 15000, 65536, 65537, 100003));

TEST(Permutation, TakesSizesBeyond32Bits) {
  const std::int64_t size = (std::int64_t{1} << 62) + 12345;
  const Permutation permutation(size, 7);
  std::set<std::int64_t> images;
  for (std::int64_t i = 0; i < 1000; ++i) images.insert(permutation(size - 1 - i));
  EXPECT_EQ(images.size(), 1000U);
  EXPECT_GE(*images.begin(), 0);
  EXPECT_LT(*images.rbegin(), size);
}

TEST(Permutation, DependsOnTheKey) {
  EXPECT_NE(order(1000, 1), order(1000, 2));
}

TEST(Permutation, EveryImageIsAboutEquallyLikely) {
  // 13 is far from a power of four, where a biased walk would show. Chi-squared with 12 degrees of
  // freedom exceeds 40 with probability 7e-5; the keys are fixed, so the test cannot flicker.
  constexpr int kSize = 13;
  constexpr int kKeys = 13000;
  for (const std::int64_t index : {0, 6, 12}) {
    std::vector<double> counts(kSize, 0.0);
    for (std::uint64_t key = 0; key < kKeys; ++key)
      ++counts[static_cast<std::size_t>(Permutation(kSize, key)(index))];
    const double expected = static_cast<double>(kKeys) / kSize;
    const double chi_squared =
        std::accumulate(counts.begin(), counts.end(), 0.0, [&](double sum, double count) {
          return sum + (count - expected) * (count - expected) / expected;
        });
    EXPECT_LT(chi_squared, 40.0) << index;
  }
}

TEST(Permutation, NeighboursDoNotStayNeighbours) {
  // In a random order of n, about 2 of the n - 1 neighbouring pairs are neighbours again.
  const auto images = order(10000, 3);
  int still_neighbours = 0;
  for (std::size_t i = 1; i < images.size(); ++i)
    still_neighbours += std::abs(images[i] - images[i - 1]) == 1 ? 1 : 0;
  EXPECT_LT(still_neighbours, 12);
}

TEST(Permutation, RefusesIndicesBeyondIt) {
  EXPECT_THROW((void)Permutation(10, 1)(10), InternalError);
  EXPECT_THROW((void)Permutation(10, 1)(-1), InternalError);
  EXPECT_THROW(Permutation(0, 1), InternalError);
}

}  // namespace
}  // namespace halfpipe::data
