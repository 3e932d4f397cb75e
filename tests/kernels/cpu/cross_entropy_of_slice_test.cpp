// SPDX-License-Identifier: Apache-2.0
// Cross-entropy of a vocabulary that tensor ranks share, on the CPU: the ranks' results together
// against the float64 reference of the whole.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <tuple>
#include <vector>

#include "kernels/core/align.h"
#include "kernels/cpu/cross_entropy.h"
#include "tests/kernels/compare.h"
#include "tests/kernels/cpu/thread_counts.h"
#include "tests/kernels/element_tolerance.h"
#include "tests/kernels/element_values.h"
#include "tests/kernels/guarded_buffer.h"
#include "tests/kernels/random_values.h"
#include "tests/kernels/reference.h"
#include "tests/kernels/vocabulary_slices.h"

namespace halfpipe::cpu {
namespace {

using testing::GuardedBuffer;
using testing::near_reference;
using testing::random_values;
using testing::representable;
using testing::same_bits;
using testing::to_elements;
using testing::to_float32;
using testing::to_float64;
using testing::VocabularySlice;
using Indices = std::vector<std::int32_t>;
using Results = std::vector<std::vector<float>>;

constexpr float kScale = 0.125F;
// As those of cross_entropy of the whole (cross_entropy_test.cpp); statistics are rounded once
// more.
constexpr double kTolerance = 5e-7;

// [N, 3] of every slice
Results statistics_of(const std::vector<VocabularySlice>& slices,
                      const Indices& targets,
                      ThreadPool& pool,
                      DType dtype) {
  const auto N = static_cast<std::int64_t>(targets.size());
  const GuardedBuffer<std::int32_t> targets_buffer(targets);
  Results results;
  testing::with_elements(dtype, [&](auto element) {
    using T = decltype(element);
    for (const VocabularySlice& slice : slices) {
      const GuardedBuffer<float> statistics(3 * N);
      const GuardedBuffer<T> logits(to_elements<T>(slice.logits));
      cross_entropy_statistics({statistics.get(), logits.get(), targets_buffer.get(), N, slice.V,
                                slice.stride, slice.first_id, dtype},
                               pool);
      EXPECT_TRUE(same_bits(to_float32(logits.values()), slice.logits));
      results.push_back(statistics.values());
    }
  });
  return results;
}

// {losses, logits after the call} of every slice
Results run(const std::vector<VocabularySlice>& slices,
            const Indices& targets,
            float scale,
            ThreadPool& pool,
            DType dtype) {
  const auto N = static_cast<std::int64_t>(targets.size());
  const auto num_slices = static_cast<std::int64_t>(slices.size());
  std::vector<float> all_statistics;
  for (const auto& of_slice : statistics_of(slices, targets, pool, dtype)) {
    all_statistics.insert(all_statistics.end(), of_slice.begin(), of_slice.end());
  }
  const GuardedBuffer<std::int32_t> targets_buffer(targets);
  const GuardedBuffer<float> statistics(all_statistics);
  Results results;
  testing::with_elements(dtype, [&](auto element) {
    using T = decltype(element);
    for (const VocabularySlice& slice : slices) {
      const GuardedBuffer<float> losses(N);
      const GuardedBuffer<T> logits(to_elements<T>(slice.logits));
      cross_entropy_of_slice({losses.get(), logits.get(), targets_buffer.get(), statistics.get(),
                              num_slices, N, slice.V, slice.stride, slice.first_id, scale, dtype},
                             pool);
      results.push_back(losses.values());
      results.push_back(to_float32(logits.values()));
    }
  });
  return results;
}

Results run_on_one_thread(const std::vector<VocabularySlice>& slices,
                          const Indices& targets,
                          float scale,
                          DType dtype) {
  ThreadPool pool(1);
  return run(slices, targets, scale, pool, dtype);
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

// Element type, N, V, slices, of what the columns of a slice are a multiple.
class CrossEntropyOfSlice
    : public ::testing::TestWithParam<
          std::tuple<DType, std::int64_t, std::int64_t, std::int64_t, std::int64_t>> {
 protected:
  DType dtype = std::get<0>(GetParam());
  std::int64_t N = std::get<1>(GetParam());
  std::int64_t V = std::get<2>(GetParam());
  std::int64_t num_slices = std::get<3>(GetParam());
  std::int64_t multiple = std::get<4>(GetParam());
  std::int64_t num_ids = ceil_div(V, num_slices);
  std::int64_t stride = ceil_div(num_ids, multiple) * multiple;
  std::vector<float> logits =
      representable(random_values("logits", N* V, /*deviation=*/2.0), dtype);
  Indices targets = testing::targets_at_edges(
      N, V, num_slices, num_ids, testing::random_indices("targets", N, V));
  std::vector<VocabularySlice> slices =
      testing::cut_vocabulary(logits, V, num_slices, num_ids, stride);
};

TEST_P(CrossEntropyOfSlice, StatisticsMatchTheReference) {
  const Results actual = testing::run_with_any_threads(
      [&](ThreadPool& pool) { return statistics_of(slices, targets, pool, dtype); });
  for (std::size_t k = 0; k < slices.size(); ++k) {
    EXPECT_TRUE(near_reference(actual[k], statistics_of_reference(slices[k], targets), kTolerance));
  }
}

TEST_P(CrossEntropyOfSlice, MatchesReference) {
  const Results actual = testing::run_with_any_threads(
      [&](ThreadPool& pool) { return run(slices, targets, kScale, pool, dtype); });
  // Losses are float32 whatever the type of the logits.
  EXPECT_TRUE(
      near_reference(actual[0], reference::cross_entropy(to_float64(logits), targets, V), 2e-7));
  EXPECT_TRUE(
      near_reference(joined_gradient(slices, actual, V),
                     reference::cross_entropy_backward(to_float64(logits), targets, V, kScale),
                     testing::element_tolerance(dtype, kTolerance)));
}

TEST_P(CrossEntropyOfSlice, RoundsTheFloat32ResultOnce) {
  const Results actual = run_on_one_thread(slices, targets, kScale, dtype);
  const Results exact = run_on_one_thread(slices, targets, kScale, DType::kFloat32);
  EXPECT_TRUE(same_bits(actual[0], exact[0]));
  EXPECT_TRUE(same_bits(joined_gradient(slices, actual, V),
                        representable(joined_gradient(slices, exact, V), dtype)));
}

TEST_P(CrossEntropyOfSlice, LeavesLogitsUntouchedAtScaleZero) {
  const Results trained = run_on_one_thread(slices, targets, kScale, dtype);
  const Results evaluated = run_on_one_thread(slices, targets, 0.0F, dtype);
  for (std::size_t k = 0; k < slices.size(); ++k) {
    EXPECT_TRUE(same_bits(evaluated[2 * k], trained[2 * k]));
    EXPECT_TRUE(same_bits(evaluated[2 * k + 1], slices[k].logits));
  }
}

const auto kBothTypes = ::testing::Values(DType::kFloat32, DType::kBFloat16);
INSTANTIATE_TEST_SUITE_P(RowsVocabulariesAndSlices,
                         CrossEntropyOfSlice,
                         ::testing::Combine(kBothTypes,
                                            ::testing::Values(1, 17),
                                            ::testing::Values(1, 2, 65, 1000),
                                            ::testing::Values(1, 2, 3, 4),
                                            ::testing::Values(1, 64)));
INSTANTIATE_TEST_SUITE_P(Gpt2Vocabulary,
                         CrossEntropyOfSlice,
                         ::testing::Combine(kBothTypes,
                                            ::testing::Values(17),
                                            ::testing::Values(50257),
                                            ::testing::Values(2, 3, 4),
                                            ::testing::Values(128)));

class CrossEntropyOfSliceExtremes : public ::testing::TestWithParam<DType> {
 protected:
  static constexpr float kInfinity = std::numeric_limits<float>::infinity();

  [[nodiscard]] static Results run_slices(const std::vector<VocabularySlice>& slices,
                                          const Indices& targets) {
    return run_on_one_thread(slices, targets, 1.0F, GetParam());
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
  EXPECT_NEAR(gradient[2 * kV] * 65.0, 1.0, testing::element_tolerance(GetParam(), 1e-6));
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
      std::vector<float> logits = representable(random_values("sure", 1000, 0.5), GetParam());
      logits[at] = lead;
      const auto exact_logits = to_float64(logits);
      const auto slices = testing::cut_vocabulary(logits, 1000, 3, 336, 336);
      const Results actual = run_slices(slices, {target});
      const double loss = reference::cross_entropy(exact_logits, {target}, 1000)[0];
      const double gradient =
          reference::cross_entropy_backward(exact_logits, {target}, 1000, 1.0)[at];
      // exp: 2 ulp, once more where sums are brought to one unit; lead - logit rounds to 1 ulp of
      // the difference.
      const double tolerance = (3.0 + lead) * std::numeric_limits<float>::epsilon();
      EXPECT_NEAR(actual[0][0] / loss, 1.0, tolerance);
      EXPECT_NEAR(joined_gradient(slices, actual, 1000)[at] / gradient, 1.0,
                  testing::element_tolerance(GetParam(), tolerance));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Types, CrossEntropyOfSliceExtremes, kBothTypes);

}  // namespace
}  // namespace halfpipe::cpu
