// SPDX-License-Identifier: Apache-2.0
// The edit distance and what it suggests.
#include "engine/config/nearest_name.h"

#include <gtest/gtest.h>

#include <array>
#include <string>

namespace halfpipe::config {
namespace {

TEST(EditDistance, CountsEachKindOfEditOnce) {
  EXPECT_EQ(edit_distance("", ""), 0);
  EXPECT_EQ(edit_distance("steps", "steps"), 0);
  EXPECT_EQ(edit_distance("step", "steps"), 1);    // inserted
  EXPECT_EQ(edit_distance("steeps", "steps"), 1);  // removed
  EXPECT_EQ(edit_distance("stebs", "steps"), 1);   // replaced
  EXPECT_EQ(edit_distance("setps", "steps"), 1);   // swapped
  EXPECT_EQ(edit_distance("", "abc"), 3);
  EXPECT_EQ(edit_distance("abc", ""), 3);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3);
}

TEST(EditDistance, IsSymmetricAndKeepsTheTriangleRuleOnWordsWithoutSwaps) {
  const std::array<std::string, 5> words{"train", "trail", "rain", "trained", "data"};
  for (const std::string& a : words) {
    for (const std::string& b : words) {
      EXPECT_EQ(edit_distance(a, b), edit_distance(b, a));
      for (const std::string& c : words) {
        EXPECT_LE(edit_distance(a, c), edit_distance(a, b) + edit_distance(b, c));
      }
    }
  }
}

TEST(NearestName, TakesTheNearestAndTheFirstOfEquals) {
  const std::array<std::string, 4> names{"seed", "steps", "step_size", "keep"};
  EXPECT_EQ(nearest_name("stepz", names), "steps");
  EXPECT_EQ(nearest_name("seep", names), "seed");  // keep is one edit away too
}

TEST(NearestName, SuggestsNothingForAWordThatIsFarFromAll) {
  const std::array<std::string, 3> names{"seed", "micro_batch_size", "v"};
  EXPECT_EQ(nearest_name("wavelength", names), std::nullopt);
  EXPECT_EQ(nearest_name("w", names), std::nullopt);
  EXPECT_EQ(nearest_name("anything", {}), std::nullopt);
}

}  // namespace
}  // namespace halfpipe::config
