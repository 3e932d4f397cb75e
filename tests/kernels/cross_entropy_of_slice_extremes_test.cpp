// SPDX-License-Identifier: Apache-2.0
// Cross-entropy of a vocabulary that tensor ranks share, of logits that are huge, infinite, NaN, or
// sure: on the device that is linked.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "tests/kernels/cross_entropy_of_slices.h"
#include "tests/kernels/element_tolerance.h"
#include "tests/kernels/element_values.h"
#include "tests/kernels/random_values.h"

namespace halfpipe::testing {
namespace {

class CrossEntropyOfSliceExtremes : public ::testing::TestWithParam<DType> {
 protected:
  static constexpr float kInfinity = std::numeric_limits<float>::infinity();

  [[nodiscard]] static Results run_slices(const std::vector<VocabularySlice>& slices,
                                          const Indices& targets) {
    return cross_entropy_of_slices(slices, targets, GetParam());
  }
};

TEST_P(CrossEntropyOfSliceExtremes, HugeLogitsStayFinite) {
  constexpr std::size_t kV = 65;
  constexpr float kHuge = 9984.0F;  // in bfloat16, too
  std::vector<float> logits(3 * kV, -kHuge);
  logits[0] = kHuge;            // row 0: all probability on the target
  logits[kV + kV - 1] = kHuge;  // row 1: all on a class of another slice; row 2 is uniform
  const auto slices = cut_vocabulary(logits, kV, 3, 24, 24);
  const Results actual = run_slices(slices, {0, 0, kV - 1});
  const auto gradient = joined_gradient(slices, actual, kV);
  EXPECT_EQ(actual[0][0], 0.0F);
  EXPECT_EQ(actual[0][1], 2.0F * kHuge);
  EXPECT_NEAR(actual[0][2], std::log(65.0), 1e-6);
  EXPECT_EQ(gradient[0], 0.0F);
  EXPECT_EQ(gradient[kV], -1.0F);
  EXPECT_EQ(gradient[kV + kV - 1], 1.0F);
  EXPECT_NEAR(gradient[2 * kV] * 65.0, 1.0, element_tolerance(GetParam(), 1e-6));
}

// Every logit of the first slice is -inf: the sum of its exponentials is 0, not NaN.
TEST_P(CrossEntropyOfSliceExtremes, ExcludedClassesHaveNoGradient) {
  std::vector<float> logits(40, -kInfinity);
  logits[20] = 0.0F;
  logits[39] = 0.0F;
  const auto slices = cut_vocabulary(logits, 40, 2, 20, 20);
  const Results actual = run_slices(slices, {20});
  std::vector<float> expected(40, 0.0F);
  expected[20] = -0.5F;
  expected[39] = 0.5F;
  EXPECT_NEAR(actual[0][0], std::log(2.0), 1e-7);
  EXPECT_EQ(joined_gradient(slices, actual, 40), expected);
}

TEST_P(CrossEntropyOfSliceExtremes, NanReachesLossAndGradientOfEverySlice) {
  for (const std::size_t at : {3U, 40U}) {  // the target's logit, one of another slice
    std::vector<float> logits(65, 0.0F);
    logits[at] = std::nanf("");
    const auto slices = cut_vocabulary(logits, 65, 3, 24, 24);
    const Results actual = run_slices(slices, {3});
    EXPECT_TRUE(std::isnan(actual[0][0]));
    for (const float value : joined_gradient(slices, actual, 65)) EXPECT_TRUE(std::isnan(value));
  }
}

// A slice of nothing but NaN, which no maximum shows.
TEST_P(CrossEntropyOfSliceExtremes, NanOfAWholeSliceIsSeen) {
  std::vector<float> logits(48, 0.0F);
  std::fill_n(logits.begin(), 24, std::nanf(""));
  const Results actual = run_slices(cut_vocabulary(logits, 48, 2, 24, 24), {30});
  EXPECT_TRUE(std::isnan(actual[0][0]));
  EXPECT_TRUE(std::isnan(actual[3][0]));
}

TEST_P(CrossEntropyOfSliceExtremes, InfiniteLogitGivesNan) {
  std::vector<float> logits(65, 0.0F);
  logits[40] = kInfinity;
  EXPECT_TRUE(std::isnan(run_slices(cut_vocabulary(logits, 65, 3, 24, 24), {3})[0][0]));
}

// A model that is sure and right: loss and gradient are tiny and keep their digits, whichever slice
// has the target.
TEST_P(CrossEntropyOfSliceExtremes, SmallLossesAreAccurate) {
  for (const std::int32_t target : {0, 400, 999}) {
    const auto at = static_cast<std::size_t>(target);
    for (const float lead : {5.0F, 10.0F, 15.0F, 20.0F}) {
      std::vector<float> logits = representable(random_values("sure", 1000, 0.5), GetParam());
      logits[at] = lead;
      const auto exact_logits = to_float64(logits);
      const auto slices = cut_vocabulary(logits, 1000, 3, 336, 336);
      const Results actual = run_slices(slices, {target});
      const double loss = reference::cross_entropy(exact_logits, {target}, 1000)[0];
      const double gradient =
          reference::cross_entropy_backward(exact_logits, {target}, 1000, 1.0)[at];
      // lead - logit rounds to 1 ulp of the difference.
      const double tolerance = (roundings_of_loss() + lead) * std::numeric_limits<float>::epsilon();
      EXPECT_NEAR(actual[0][0] / loss, 1.0, tolerance);
      EXPECT_NEAR(joined_gradient(slices, actual, 1000)[at] / gradient, 1.0,
                  element_tolerance(GetParam(), tolerance));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Types,
                         CrossEntropyOfSliceExtremes,
                         ::testing::Values(DType::kFloat32, DType::kBFloat16));

}  // namespace
}  // namespace halfpipe::testing
