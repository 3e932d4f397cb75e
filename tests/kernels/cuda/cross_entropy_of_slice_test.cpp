// SPDX-License-Identifier: Apache-2.0
// Cross-entropy of a vocabulary that tensor ranks share, on the GPU: the ranks' results together
// against the float64 reference of the whole.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <tuple>
#include <vector>

#include "kernels/core/align.h"
#include "kernels/cuda/cross_entropy.h"
#include "tests/kernels/compare.h"
#include "tests/kernels/cuda/device_array.h"
#include "tests/kernels/random_values.h"
#include "tests/kernels/reference.h"
#include "tests/kernels/vocabulary_slices.h"

namespace halfpipe::cuda {
namespace {

using testing::DeviceArray;
using testing::near_reference;
using testing::random_values;
using testing::rounded;
using testing::same_bits;
using testing::to_float64;
using testing::VocabularySlice;
using Indices = std::vector<std::int32_t>;
using Results = std::vector<std::vector<float>>;

constexpr float kScale = 0.125F;
// As that of cross_entropy of the whole (cross_entropy_test.cpp).
constexpr double kTolerance = 1e-6;

// [N, 3] of every slice
Results statistics_of(const std::vector<VocabularySlice>& slices,
                      const Indices& targets,
                      DType dtype,
                      std::size_t offset = 0) {
  const auto N = static_cast<std::int64_t>(targets.size());
  const DeviceArray targets_array(targets);
  Results results;
  for (const VocabularySlice& slice : slices) {
    const DeviceArray statistics(DType::kFloat32, 3 * N);
    const DeviceArray logits(dtype, slice.logits, offset);
    cross_entropy_statistics(
        {statistics.as<float>(), logits.get(), targets_array.as<std::int32_t>(), N, slice.V,
         slice.stride, slice.first_id, dtype},
        nullptr);
    results.push_back(statistics.values());
    EXPECT_TRUE(same_bits(logits.values(), slice.logits));
  }
  return results;
}

// {losses, logits after the call} of every slice
Results run(const std::vector<VocabularySlice>& slices,
            const Indices& targets,
            float scale,
            DType dtype,
            std::size_t offset = 0) {
  const auto N = static_cast<std::int64_t>(targets.size());
  const auto num_slices = static_cast<std::int64_t>(slices.size());
  std::vector<float> all_statistics;
  for (const auto& of_slice : statistics_of(slices, targets, dtype, offset)) {
    all_statistics.insert(all_statistics.end(), of_slice.begin(), of_slice.end());
  }
  const DeviceArray targets_array(targets);
  const DeviceArray statistics(DType::kFloat32, all_statistics);
  Results results;
  for (const VocabularySlice& slice : slices) {
    const DeviceArray losses(DType::kFloat32, N);
    const DeviceArray logits(dtype, slice.logits, offset);
    cross_entropy_of_slice(
        {losses.as<float>(), logits.get(), targets_array.as<std::int32_t>(), statistics.as<float>(),
         num_slices, N, slice.V, slice.stride, slice.first_id, scale, dtype},
        nullptr);
    results.push_back(losses.values());
    results.push_back(logits.values());
  }
  return results;
}

// The reference, of the columns that are no padding.
reference::Values statistics_of_reference(const VocabularySlice& slice, const Indices& targets) {
  reference::Values logits;
  for (std::size_t n = 0; n < targets.size(); ++n) {
    const auto row = slice.logits.begin() + static_cast<std::int64_t>(n) * slice.stride;
    logits.insert(logits.end(), row, row + slice.V);
  }
  return reference::cross_entropy_statistics(logits, targets, slice.V, slice.first_id);
}

// The gradients of all ranks as one, [N, V], after what each must have has been checked: the same
// losses as all others, and no gradient where there is padding.
std::vector<float> joined_gradient(const std::vector<VocabularySlice>& slices,
                                   const Results& results,
                                   std::int64_t V) {
  Results gradients;
  for (std::size_t k = 0; k < slices.size(); ++k) {
    EXPECT_TRUE(same_bits(results[2 * k], results[0]));
    EXPECT_TRUE(testing::padding_is_zero(slices[k], results[2 * k + 1]));
    gradients.push_back(results[2 * k + 1]);
  }
  return testing::join_vocabulary(slices, gradients, V);
}

// Element type, N, V, slices, of what the columns of a slice are a multiple, elements
// past a 16-byte boundary at which the logits begin.
class CrossEntropyOfSlice
    : public ::testing::TestWithParam<
          std::tuple<DType, std::int64_t, std::int64_t, std::int64_t, std::int64_t, std::size_t>> {
 protected:
  DType dtype = std::get<0>(GetParam());
  std::int64_t N = std::get<1>(GetParam());
  std::int64_t V = std::get<2>(GetParam());
  std::int64_t num_slices = std::get<3>(GetParam());
  std::size_t offset = std::get<5>(GetParam());
  std::int64_t multiple = std::get<4>(GetParam());
  std::int64_t num_ids = ceil_div(V, num_slices);
  std::int64_t stride = ceil_div(num_ids, multiple) * multiple;
  std::vector<float> logits = rounded(dtype, random_values("logits", N* V, /*deviation=*/2.0));
  Indices targets = testing::targets_at_edges(
      N, V, num_slices, num_ids, testing::random_indices("targets", N, V));
  std::vector<VocabularySlice> slices =
      testing::cut_vocabulary(logits, V, num_slices, num_ids, stride);
};

TEST_P(CrossEntropyOfSlice, StatisticsMatchTheReference) {
  const Results actual = statistics_of(slices, targets, dtype, offset);
  const Results again = statistics_of(slices, targets, dtype, offset);
  for (std::size_t k = 0; k < slices.size(); ++k) {
    EXPECT_TRUE(near_reference(actual[k], statistics_of_reference(slices[k], targets), kTolerance));
    EXPECT_TRUE(same_bits(again[k], actual[k]));
  }
}

TEST_P(CrossEntropyOfSlice, MatchesReference) {
  const Results actual = run(slices, targets, kScale, dtype, offset);
  EXPECT_TRUE(near_reference(actual[0], reference::cross_entropy(to_float64(logits), targets, V),
                             kTolerance));
  EXPECT_TRUE(
      near_reference(joined_gradient(slices, actual, V),
                     reference::cross_entropy_backward(to_float64(logits), targets, V, kScale),
                     testing::with_rounding(dtype, kTolerance)));
}

TEST_P(CrossEntropyOfSlice, RepeatsItsBitsAndLeavesLogitsUntouchedAtScaleZero) {
  const Results trained = run(slices, targets, kScale, dtype, offset);
  const Results again = run(slices, targets, kScale, dtype, offset);
  const Results evaluated = run(slices, targets, 0.0F, dtype, offset);
  for (std::size_t k = 0; k < slices.size(); ++k) {
    EXPECT_TRUE(same_bits(again[2 * k], trained[2 * k]));
    EXPECT_TRUE(same_bits(again[2 * k + 1], trained[2 * k + 1]));
    EXPECT_TRUE(same_bits(evaluated[2 * k], trained[2 * k]));
    EXPECT_TRUE(same_bits(evaluated[2 * k + 1], slices[k].logits));
  }
}

const auto kBothTypes = ::testing::Values(DType::kFloat32, DType::kBFloat16);
INSTANTIATE_TEST_SUITE_P(RowsVocabulariesAndSlices,
                         CrossEntropyOfSlice,
                         ::testing::Combine(kBothTypes,
                                            ::testing::Values(5),
                                            ::testing::Values(1, 65, 1000),
                                            ::testing::Values(1, 2, 3, 4),
                                            ::testing::Values(1, 64),
                                            ::testing::Values(0, 3)));
// Slices of several steps of all threads, without and with padding.
INSTANTIATE_TEST_SUITE_P(LargeVocabularies,
                         CrossEntropyOfSlice,
                         ::testing::Combine(kBothTypes,
                                            ::testing::Values(2),
                                            ::testing::Values(50'257),
                                            ::testing::Values(3),
                                            ::testing::Values(1, 128),
                                            ::testing::Values(0)));

class CrossEntropyOfSliceExtremes : public ::testing::TestWithParam<DType> {
 protected:
  static constexpr float kInfinity = std::numeric_limits<float>::infinity();

  [[nodiscard]] static Results run_slices(const std::vector<VocabularySlice>& slices,
                                          const Indices& targets) {
    return run(slices, targets, 1.0F, GetParam());
  }
};

TEST_P(CrossEntropyOfSliceExtremes, HugeLogitsStayFinite) {
  constexpr std::size_t kV = 65;
  constexpr float kHuge = 9984.0F;  // in bfloat16, too
  std::vector<float> logits(3 * kV, -kHuge);
  logits[0] = kHuge;            // row 0: all probability on the target
  logits[kV + kV - 1] = kHuge;  // row 1: all on a class of another slice; row 2 is uniform
  const auto slices = testing::cut_vocabulary(logits, kV, 3, 24, 24);
  const Results actual = run_slices(slices, {0, 0, kV - 1});
  const auto gradient = joined_gradient(slices, actual, kV);
  EXPECT_EQ(actual[0][0], 0.0F);
  EXPECT_EQ(actual[0][1], 2.0F * kHuge);
  EXPECT_NEAR(actual[0][2], std::log(65.0), 1e-6);
  EXPECT_EQ(gradient[0], 0.0F);
  EXPECT_EQ(gradient[kV], -1.0F);
  EXPECT_EQ(gradient[kV + kV - 1], 1.0F);
  EXPECT_NEAR(gradient[2 * kV] * 65.0, 1.0, testing::with_rounding(GetParam(), 1e-6));
}

// Every logit of the first slice is -inf: the sum of its exponentials is 0, not NaN.
TEST_P(CrossEntropyOfSliceExtremes, ExcludedClassesHaveNoGradient) {
  std::vector<float> logits(40, -kInfinity);
  logits[20] = 0.0F;
  logits[39] = 0.0F;
  const auto slices = testing::cut_vocabulary(logits, 40, 2, 20, 20);
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
    const auto slices = testing::cut_vocabulary(logits, 65, 3, 24, 24);
    const Results actual = run_slices(slices, {3});
    EXPECT_TRUE(std::isnan(actual[0][0]));
    for (const float value : joined_gradient(slices, actual, 65)) EXPECT_TRUE(std::isnan(value));
  }
}

// A slice of nothing but NaN, which no maximum shows.
TEST_P(CrossEntropyOfSliceExtremes, NanOfAWholeSliceIsSeen) {
  std::vector<float> logits(48, 0.0F);
  std::fill_n(logits.begin(), 24, std::nanf(""));
  const Results actual = run_slices(testing::cut_vocabulary(logits, 48, 2, 24, 24), {30});
  EXPECT_TRUE(std::isnan(actual[0][0]));
  EXPECT_TRUE(std::isnan(actual[3][0]));
}

TEST_P(CrossEntropyOfSliceExtremes, InfiniteLogitGivesNan) {
  std::vector<float> logits(65, 0.0F);
  logits[40] = kInfinity;
  EXPECT_TRUE(std::isnan(run_slices(testing::cut_vocabulary(logits, 65, 3, 24, 24), {3})[0][0]));
}

// A model that is sure and right: loss and gradient are tiny and keep their digits, whichever slice
// has the target.
TEST_P(CrossEntropyOfSliceExtremes, SmallLossesAreAccurate) {
  for (const std::int32_t target : {0, 400, 999}) {
    const auto at = static_cast<std::size_t>(target);
    for (const float lead : {5.0F, 10.0F, 15.0F, 20.0F}) {
      std::vector<float> logits = rounded(GetParam(), random_values("sure", 1000, 0.5));
      logits[at] = lead;
      const auto exact_logits = to_float64(logits);
      const auto slices = testing::cut_vocabulary(logits, 1000, 3, 336, 336);
      const Results actual = run_slices(slices, {target});
      const double loss = reference::cross_entropy(exact_logits, {target}, 1000)[0];
      const double gradient =
          reference::cross_entropy_backward(exact_logits, {target}, 1000, 1.0)[at];
      // exp: a few ulp, once more where sums are brought to one unit; lead - logit rounds to 1 ulp
      // of the difference.
      const double tolerance = (8.0 + lead) * std::numeric_limits<float>::epsilon();
      EXPECT_NEAR(actual[0][0] / loss, 1.0, tolerance);
      EXPECT_NEAR(joined_gradient(slices, actual, 1000)[at] / gradient, 1.0,
                  testing::with_rounding(GetParam(), tolerance));
    }
  }
}

TEST_P(CrossEntropyOfSliceExtremes, EmptyInputIsNoWork) {
  cross_entropy_statistics({nullptr, nullptr, nullptr, 0, 65, 72, 0, GetParam()}, nullptr);
  cross_entropy_of_slice({nullptr, nullptr, nullptr, nullptr, 2, 0, 65, 72, 0, 1.0F, GetParam()},
                         nullptr);
}

INSTANTIATE_TEST_SUITE_P(Types, CrossEntropyOfSliceExtremes, kBothTypes);

}  // namespace
}  // namespace halfpipe::cuda
