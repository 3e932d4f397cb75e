// SPDX-License-Identifier: Apache-2.0
// Fused softmax and cross-entropy on the CPU against the float64 reference.
#include "kernels/cpu/cross_entropy.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <tuple>
#include <vector>

#include "tests/kernels/central_differences.h"
#include "tests/kernels/compare.h"
#include "tests/kernels/cpu/thread_counts.h"
#include "tests/kernels/element_tolerance.h"
#include "tests/kernels/element_values.h"
#include "tests/kernels/guarded_buffer.h"
#include "tests/kernels/random_values.h"
#include "tests/kernels/reference.h"

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
using testing::with_elements;
using Results = std::vector<std::vector<float>>;

// One rounding of logit - maximum (up to 8 at these logits: 5e-7 there, less on average), two ulp
// of exp and two roundings.
constexpr double kTolerance = 5e-7;
constexpr float kScale = 0.125F;

// {losses, logits after the call}
Results run(const std::vector<float>& logits,
            const std::vector<std::int32_t>& targets,
            float scale,
            ThreadPool& pool,
            DType dtype = DType::kFloat32) {
  const auto N = static_cast<std::int64_t>(targets.size());
  const auto V = static_cast<std::int64_t>(logits.size() / targets.size());
  Results results;
  with_elements(dtype, [&](auto element) {
    using T = decltype(element);
    const GuardedBuffer<float> losses(N);
    const GuardedBuffer<T> logits_buffer(to_elements<T>(logits));
    const GuardedBuffer<std::int32_t> targets_buffer(targets);
    ops::CrossEntropy args{losses.get(), logits_buffer.get(), targets_buffer.get(), N, V, scale,
                           dtype};
    const GuardedBuffer<float> scratch(
        static_cast<std::int64_t>(cross_entropy_scratch_bytes(args, pool) / sizeof(float)));
    args.scratch = scratch.get();
    cross_entropy(args, pool);
    results = {losses.values(), to_float32(logits_buffer.values())};
  });
  return results;
}

Results run_on_one_thread(const std::vector<float>& logits,
                          const std::vector<std::int32_t>& targets,
                          float scale,
                          DType dtype = DType::kFloat32) {
  ThreadPool pool(1);
  return run(logits, targets, scale, pool, dtype);
}

class CrossEntropy
    : public ::testing::TestWithParam<std::tuple<DType, std::int64_t, std::int64_t>> {
 protected:
  CrossEntropy() {
    targets.front() = 0;
    targets.back() = static_cast<std::int32_t>(V - 1);
  }

  DType dtype = std::get<0>(GetParam());
  std::int64_t N = std::get<1>(GetParam());
  std::int64_t V = std::get<2>(GetParam());
  std::vector<float> logits =
      representable(random_values("logits", N* V, /*deviation=*/2.0), dtype);
  std::vector<std::int32_t> targets = testing::random_indices("targets", N, V);
};

TEST_P(CrossEntropy, MatchesReference) {
  const Results actual = testing::run_with_any_threads(
      [&](ThreadPool& pool) { return run(logits, targets, kScale, pool, dtype); });
  // Losses are float32 whatever the type of the logits.
  EXPECT_TRUE(
      near_reference(actual[0], reference::cross_entropy(to_float64(logits), targets, V), 2e-7));
  EXPECT_TRUE(near_reference(
      actual[1], reference::cross_entropy_backward(to_float64(logits), targets, V, kScale),
      testing::element_tolerance(dtype, kTolerance)));
}

TEST_P(CrossEntropy, RoundsTheFloat32ResultOnce) {
  const Results actual = run_on_one_thread(logits, targets, kScale, dtype);
  const Results exact = run_on_one_thread(logits, targets, kScale);
  EXPECT_TRUE(same_bits(actual[0], exact[0]));
  EXPECT_TRUE(same_bits(actual[1], representable(exact[1], dtype)));
}

TEST_P(CrossEntropy, LeavesLogitsUntouchedAtScaleZero) {
  const Results trained = run_on_one_thread(logits, targets, kScale, dtype);
  const Results evaluated = run_on_one_thread(logits, targets, 0.0F, dtype);
  EXPECT_TRUE(same_bits(evaluated[0], trained[0]));
  EXPECT_TRUE(same_bits(evaluated[1], logits));
}

INSTANTIATE_TEST_SUITE_P(TypesRowsAndVocabularies,
                         CrossEntropy,
                         ::testing::Combine(::testing::Values(DType::kFloat32, DType::kBFloat16),
                                            ::testing::Values(1, 3, 17, 130),
                                            ::testing::Values(1, 2, 65, 1000)));
INSTANTIATE_TEST_SUITE_P(Gpt2Vocabulary,
                         CrossEntropy,
                         ::testing::Combine(::testing::Values(DType::kFloat32, DType::kBFloat16),
                                            ::testing::Values(1, 17),
                                            ::testing::Values(50257)));

class CrossEntropyExtremes : public ::testing::TestWithParam<DType> {};

TEST_P(CrossEntropyExtremes, HugeLogitsStayFinite) {
  constexpr std::size_t kV = 65;
  constexpr float kHuge = 9984.0F;  // in bfloat16, too
  std::vector<float> logits(3 * kV, -kHuge);
  logits[0] = kHuge;            // row 0: all probability on the target
  logits[kV + kV - 1] = kHuge;  // row 1: all on another class; row 2 is uniform
  const Results actual = run_on_one_thread(logits, {0, 0, kV - 1}, 1.0F, GetParam());
  EXPECT_EQ(actual[0][0], 0.0F);
  EXPECT_EQ(actual[0][1], 2.0F * kHuge);
  EXPECT_NEAR(actual[0][2], std::log(65.0), 1e-6);
  EXPECT_EQ(actual[1][0], 0.0F);
  EXPECT_EQ(actual[1][kV], -1.0F);
  EXPECT_EQ(actual[1][kV + kV - 1], 1.0F);
  EXPECT_NEAR(actual[1][2 * kV] * 65.0, 1.0, testing::element_tolerance(GetParam(), 1e-6));
}

TEST_P(CrossEntropyExtremes, ExcludedClassesHaveNoGradient) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const Results actual = run_on_one_thread({-kInfinity, 0.0F, 0.0F}, {1}, 1.0F, GetParam());
  EXPECT_NEAR(actual[0][0], std::log(2.0), 1e-7);
  EXPECT_EQ(actual[1], (std::vector<float>{0.0F, -0.5F, 0.5F}));
}

TEST_P(CrossEntropyExtremes, NanReachesLossAndGradient) {
  std::vector<float> logits(65, 0.0F);
  logits[40] = std::nanf("");
  const Results actual = run_on_one_thread(logits, {3}, 1.0F, GetParam());
  EXPECT_TRUE(std::isnan(actual[0][0]));
  EXPECT_TRUE(std::isnan(actual[1][0]));
  EXPECT_TRUE(std::isnan(actual[1][3]));
}

// A model that is sure and right: loss and gradient are tiny and keep their digits.
TEST_P(CrossEntropyExtremes, SmallLossesAreAccurate) {
  for (const float lead : {5.0F, 10.0F, 15.0F, 20.0F}) {
    std::vector<float> logits = representable(random_values("sure", 1000, 0.5), GetParam());
    logits[500] = lead;
    const auto exact_logits = to_float64(logits);
    const Results actual = run_on_one_thread(logits, {500}, 1.0F, GetParam());
    const double loss = reference::cross_entropy(exact_logits, {500}, 1000)[0];
    const double gradient = reference::cross_entropy_backward(exact_logits, {500}, 1000, 1.0)[500];
    // exp_approx: 2 ulp; lead - logit rounds to 1 ulp of the difference.
    const double tolerance = (2.0 + lead) * std::numeric_limits<float>::epsilon();
    EXPECT_NEAR(actual[0][0] / loss, 1.0, tolerance);
    EXPECT_NEAR(actual[1][500] / gradient, 1.0, testing::element_tolerance(GetParam(), tolerance));
  }
}

INSTANTIATE_TEST_SUITE_P(Types,
                         CrossEntropyExtremes,
                         ::testing::Values(DType::kFloat32, DType::kBFloat16));

TEST(CrossEntropyReference, BackwardIsTheDerivativeOfForward) {
  const std::vector<std::int32_t> targets{4, 0, 2};
  const auto logits = to_float64(random_values("logits", 15));
  auto losses = [&](const reference::Values& v) { return reference::cross_entropy(v, targets, 5); };
  const std::vector<double> scales(3, 0.25);
  EXPECT_LT(testing::largest_difference(reference::cross_entropy_backward(logits, targets, 5, 0.25),
                                        testing::central_differences(losses, logits, scales)),
            testing::kCentralDifferenceTolerance);
}

}  // namespace
}  // namespace halfpipe::cpu
