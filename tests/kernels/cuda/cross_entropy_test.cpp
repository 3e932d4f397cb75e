// SPDX-License-Identifier: Apache-2.0
// Fused softmax and cross-entropy on the GPU against the float64 reference.
#include "kernels/cuda/cross_entropy.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <tuple>
#include <vector>

#include "tests/kernels/compare.h"
#include "tests/kernels/cuda/device_array.h"
#include "tests/kernels/element_tolerance.h"
#include "tests/kernels/element_values.h"
#include "tests/kernels/random_values.h"
#include "tests/kernels/reference.h"

namespace halfpipe::cuda {
namespace {

using testing::DeviceArray;
using testing::near_reference;
using testing::random_values;
using testing::representable;
using testing::to_float64;
using Values = std::vector<float>;

// One rounding of logit - maximum (up to 8 at these logits: 5e-7 there, less on average), two ulp
// of exp, a hundred additions into the sum of each thread (6e-8 each, of falling weight). For
// bfloat16 logits the exponent is rounded once more.
constexpr double kTolerance = 1e-6;
constexpr float kScale = 0.125F;

// {losses, logits after the call}
std::vector<Values> run(DType dtype,
                        const Values& logits,
                        const std::vector<std::int32_t>& targets,
                        float scale,
                        std::size_t offset = 0) {
  const auto N = static_cast<std::int64_t>(targets.size());
  const auto V = static_cast<std::int64_t>(logits.size() / targets.size());
  const DeviceArray losses(DType::kFloat32, N);
  const DeviceArray logits_array(dtype, logits, offset);
  const DeviceArray targets_array(targets);
  cross_entropy({losses.as<float>(), logits_array.get(), targets_array.as<std::int32_t>(), N, V,
                 scale, dtype},
                nullptr);
  return {losses.values(), logits_array.values()};
}

// Element type, N, V, elements past a 16-byte boundary at which the logits begin.
class CrossEntropy
    : public ::testing::TestWithParam<std::tuple<DType, std::int64_t, std::int64_t, std::size_t>> {
 protected:
  CrossEntropy() {
    targets.front() = 0;
    targets.back() = static_cast<std::int32_t>(V - 1);
  }

  DType dtype = std::get<0>(GetParam());
  std::int64_t N = std::get<1>(GetParam());
  std::int64_t V = std::get<2>(GetParam());
  std::size_t offset = std::get<3>(GetParam());
  Values logits = representable(random_values("logits", N* V, /*deviation=*/2.0), dtype);
  std::vector<std::int32_t> targets = testing::random_indices("targets", N, V);
};

TEST_P(CrossEntropy, MatchesReference) {
  const auto actual = run(dtype, logits, targets, kScale, offset);
  EXPECT_TRUE(near_reference(actual[0], reference::cross_entropy(to_float64(logits), targets, V),
                             kTolerance));
  EXPECT_TRUE(near_reference(
      actual[1], reference::cross_entropy_backward(to_float64(logits), targets, V, kScale),
      testing::element_tolerance(dtype, kTolerance)));
}

TEST_P(CrossEntropy, RepeatsItsBitsAndLeavesLogitsUntouchedAtScaleZero) {
  const auto trained = run(dtype, logits, targets, kScale, offset);
  const auto again = run(dtype, logits, targets, kScale, offset);
  EXPECT_TRUE(testing::same_bits(again[0], trained[0]));
  EXPECT_TRUE(testing::same_bits(again[1], trained[1]));
  const auto evaluated = run(dtype, logits, targets, 0.0F, offset);
  EXPECT_TRUE(testing::same_bits(evaluated[0], trained[0]));
  EXPECT_TRUE(testing::same_bits(evaluated[1], logits));
}

const auto kBothTypes = ::testing::Values(DType::kFloat32, DType::kBFloat16);
INSTANTIATE_TEST_SUITE_P(RowsAndVocabularies,
                         CrossEntropy,
                         ::testing::Combine(kBothTypes,
                                            ::testing::Values(1, 3, 17),
                                            ::testing::Values(1, 2, 7, 65, 1000),
                                            ::testing::Values(0, 3)));
// GPT-2's, its padded form, and rows that do not fit in shared memory.
INSTANTIATE_TEST_SUITE_P(LargeVocabularies,
                         CrossEntropy,
                         ::testing::Combine(kBothTypes,
                                            ::testing::Values(3),
                                            ::testing::Values(50'257, 50'304, 200'001),
                                            ::testing::Values(0)));

class CrossEntropyExtremes : public ::testing::TestWithParam<DType> {};

TEST_P(CrossEntropyExtremes, HugeLogitsStayFinite) {
  constexpr std::size_t kV = 65;
  constexpr float kHuge = 9984.0F;  // exact in bfloat16
  Values logits(3 * kV, -kHuge);
  logits[0] = kHuge;            // row 0: all probability on the target
  logits[kV + kV - 1] = kHuge;  // row 1: all on another class; row 2 is uniform
  const auto actual = run(GetParam(), logits, {0, 0, kV - 1}, 1.0F);
  EXPECT_EQ(actual[0][0], 0.0F);
  EXPECT_EQ(actual[0][1], 2.0F * kHuge);
  EXPECT_NEAR(actual[0][2], std::log(65.0), 1e-6);
  EXPECT_EQ(actual[1][0], 0.0F);
  EXPECT_EQ(actual[1][kV], -1.0F);
  EXPECT_EQ(actual[1][kV + kV - 1], 1.0F);
  EXPECT_NEAR(actual[1][2 * kV], 1.0 / 65.0, testing::element_tolerance(GetParam(), 1e-6) / 65.0);
}

TEST_P(CrossEntropyExtremes, ExcludedClassesHaveNoGradient) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  Values logits(40, -kInfinity);  // whole vectors of them
  logits[20] = 0.0F;
  logits[39] = 0.0F;
  const auto actual = run(GetParam(), logits, {20}, 1.0F);
  Values expected(40, 0.0F);
  expected[20] = -0.5F;
  expected[39] = 0.5F;
  EXPECT_NEAR(actual[0][0], std::log(2.0), 1e-7);
  EXPECT_EQ(actual[1], expected);
}

TEST_P(CrossEntropyExtremes, NanReachesLossAndGradient) {
  for (const std::size_t at : {3U, 40U}) {  // the target's logit, another one
    Values logits(65, 0.0F);
    logits[at] = std::nanf("");
    const auto actual = run(GetParam(), logits, {3}, 1.0F);
    EXPECT_TRUE(std::isnan(actual[0][0]));
    for (const float value : actual[1]) EXPECT_TRUE(std::isnan(value));
  }
}

TEST_P(CrossEntropyExtremes, InfiniteLogitGivesNan) {
  Values logits(65, 0.0F);
  logits[40] = std::numeric_limits<float>::infinity();
  const auto actual = run(GetParam(), logits, {3}, 1.0F);
  EXPECT_TRUE(std::isnan(actual[0][0]));
}

// A model that is sure and right: loss and gradient are tiny and keep their digits.
TEST_P(CrossEntropyExtremes, SmallLossesAreAccurate) {
  for (const float lead : {5.0F, 10.0F, 15.0F, 20.0F}) {
    Values logits = representable(random_values("sure", 1000, 0.5), GetParam());
    logits[500] = lead;
    const auto exact_logits = to_float64(logits);
    const auto actual = run(GetParam(), logits, {500}, 1.0F);
    const double loss = reference::cross_entropy(exact_logits, {500}, 1000)[0];
    const double gradient = reference::cross_entropy_backward(exact_logits, {500}, 1000, 1.0)[500];
    // exp: a few ulp; lead - logit rounds to 1 ulp of the difference.
    const double tolerance = (8.0 + lead) * std::numeric_limits<float>::epsilon();
    EXPECT_NEAR(actual[0][0] / loss, 1.0, tolerance);
    EXPECT_NEAR(actual[1][500] / gradient, 1.0, testing::element_tolerance(GetParam(), tolerance));
  }
}

TEST_P(CrossEntropyExtremes, EmptyInputIsNoWork) {
  cross_entropy({nullptr, nullptr, nullptr, 0, 65, 1.0F, GetParam()}, nullptr);
}

INSTANTIATE_TEST_SUITE_P(DTypes, CrossEntropyExtremes, kBothTypes);

}  // namespace
}  // namespace halfpipe::cuda
