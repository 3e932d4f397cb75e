// SPDX-License-Identifier: Apache-2.0
// Cross-entropy of a vocabulary that tensor ranks share, on the CPU: the ranks' results together
// against the float64 reference of the whole. Extreme logits:
// ../cross_entropy_of_slice_extremes_test.cpp.
#include <gtest/gtest.h>

#include <cstdint>
#include <tuple>
#include <vector>

#include "kernels/core/align.h"
#include "kernels/cpu/cross_entropy.h"
#include "tests/kernels/compare.h"
#include "tests/kernels/cpu/thread_counts.h"
#include "tests/kernels/cross_entropy_of_slices.h"
#include "tests/kernels/element_tolerance.h"
#include "tests/kernels/element_values.h"
#include "tests/kernels/guarded_buffer.h"
#include "tests/kernels/random_values.h"
#include "tests/kernels/reference.h"

namespace halfpipe::cpu {
namespace {

using testing::GuardedBuffer;
using testing::Indices;
using testing::near_reference;
using testing::random_values;
using testing::representable;
using testing::Results;
using testing::same_bits;
using testing::to_elements;
using testing::to_float32;
using testing::to_float64;
using testing::VocabularySlice;

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
    EXPECT_TRUE(near_reference(actual[k], testing::statistics_of_reference(slices[k], targets),
                               kTolerance));
  }
}

TEST_P(CrossEntropyOfSlice, MatchesReference) {
  const Results actual = testing::run_with_any_threads(
      [&](ThreadPool& pool) { return run(slices, targets, kScale, pool, dtype); });
  // Losses are float32 whatever the type of the logits.
  EXPECT_TRUE(
      near_reference(actual[0], reference::cross_entropy(to_float64(logits), targets, V), 2e-7));
  EXPECT_TRUE(
      near_reference(testing::joined_gradient(slices, actual, V),
                     reference::cross_entropy_backward(to_float64(logits), targets, V, kScale),
                     testing::element_tolerance(dtype, kTolerance)));
}

TEST_P(CrossEntropyOfSlice, RoundsTheFloat32ResultOnce) {
  const Results actual = run_on_one_thread(slices, targets, kScale, dtype);
  const Results exact = run_on_one_thread(slices, targets, kScale, DType::kFloat32);
  EXPECT_TRUE(same_bits(actual[0], exact[0]));
  EXPECT_TRUE(same_bits(testing::joined_gradient(slices, actual, V),
                        representable(testing::joined_gradient(slices, exact, V), dtype)));
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

}  // namespace
}  // namespace halfpipe::cpu

namespace halfpipe::testing {

Results cross_entropy_of_slices(const std::vector<VocabularySlice>& slices,
                                const Indices& targets,
                                DType dtype) {
  return cpu::run_on_one_thread(slices, targets, 1.0F, dtype);
}

// exp: 2 ulp, once more where sums are brought to one unit.
double roundings_of_loss() {
  return 3.0;
}

}  // namespace halfpipe::testing
