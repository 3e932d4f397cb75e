// SPDX-License-Identifier: Apache-2.0
// Cross-entropy of a vocabulary that tensor ranks share, on the GPU: the ranks' results together
// against the float64 reference of the whole. Extreme logits:
// ../cross_entropy_of_slice_extremes_test.cpp.
#include <gtest/gtest.h>

#include <cstdint>
#include <tuple>
#include <vector>

#include "kernels/core/align.h"
#include "kernels/cuda/cross_entropy.h"
#include "tests/kernels/compare.h"
#include "tests/kernels/cross_entropy_of_slices.h"
#include "tests/kernels/cuda/device_array.h"
#include "tests/kernels/element_tolerance.h"
#include "tests/kernels/element_values.h"
#include "tests/kernels/random_values.h"
#include "tests/kernels/reference.h"

namespace halfpipe::cuda {
namespace {

using testing::DeviceArray;
using testing::Indices;
using testing::near_reference;
using testing::random_values;
using testing::representable;
using testing::Results;
using testing::same_bits;
using testing::to_float64;
using testing::VocabularySlice;

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
  std::vector<float> logits =
      representable(random_values("logits", N* V, /*deviation=*/2.0), dtype);
  Indices targets = testing::targets_at_edges(
      N, V, num_slices, num_ids, testing::random_indices("targets", N, V));
  std::vector<VocabularySlice> slices =
      testing::cut_vocabulary(logits, V, num_slices, num_ids, stride);
};

TEST_P(CrossEntropyOfSlice, StatisticsMatchTheReference) {
  const Results actual = statistics_of(slices, targets, dtype, offset);
  const Results again = statistics_of(slices, targets, dtype, offset);
  for (std::size_t k = 0; k < slices.size(); ++k) {
    EXPECT_TRUE(near_reference(actual[k], testing::statistics_of_reference(slices[k], targets),
                               kTolerance));
    EXPECT_TRUE(same_bits(again[k], actual[k]));
  }
}

TEST_P(CrossEntropyOfSlice, MatchesReference) {
  const Results actual = run(slices, targets, kScale, dtype, offset);
  EXPECT_TRUE(near_reference(actual[0], reference::cross_entropy(to_float64(logits), targets, V),
                             kTolerance));
  EXPECT_TRUE(
      near_reference(testing::joined_gradient(slices, actual, V),
                     reference::cross_entropy_backward(to_float64(logits), targets, V, kScale),
                     testing::element_tolerance(dtype, kTolerance)));
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

TEST(CrossEntropyOfNoRows, IsNoWork) {
  for (const DType dtype : {DType::kFloat32, DType::kBFloat16}) {
    cross_entropy_statistics({nullptr, nullptr, nullptr, 0, 65, 72, 0, dtype}, nullptr);
    cross_entropy_of_slice({nullptr, nullptr, nullptr, nullptr, 2, 0, 65, 72, 0, 1.0F, dtype},
                           nullptr);
  }
}

}  // namespace
}  // namespace halfpipe::cuda

namespace halfpipe::testing {

Results cross_entropy_of_slices(const std::vector<VocabularySlice>& slices,
                                const Indices& targets,
                                DType dtype) {
  return cuda::run(slices, targets, 1.0F, dtype);
}

// exp: a few ulp, once more where sums are brought to one unit.
double roundings_of_loss() {
  return 8.0;
}

}  // namespace halfpipe::testing
