// SPDX-License-Identifier: Apache-2.0
// AdamW on the CPU against the float64 reference.
#include "kernels/cpu/optimizer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "tests/kernels/compare.h"
#include "tests/kernels/cpu/thread_counts.h"
#include "tests/kernels/element_values.h"
#include "tests/kernels/guarded_buffer.h"
#include "tests/kernels/moments_in_bfloat16.h"
#include "tests/kernels/random_values.h"
#include "tests/kernels/reference.h"

namespace halfpipe::cpu {
namespace {

using testing::GuardedBuffer;
using testing::near_reference;
using testing::random_values;
using testing::to_float64;
using Results = std::vector<std::vector<float>>;

struct Hyperparameters {
  float learning_rate = 0.02F;
  float beta1 = 0.9F;
  float beta2 = 0.95F;
  float epsilon = 1e-8F;
  float weight_decay = 0.1F;
  float grad_scale = 1.0F;
};

// The reference takes the float32 values: 0.95F is not 0.95, and that is the caller's rounding.
reference::AdamWHyperparameters to_float64(const Hyperparameters& h) {
  return {h.learning_rate, h.beta1, h.beta2, h.epsilon, h.weight_decay, h.grad_scale};
}

ops::AdamW arguments(float* param,
                     void* m,
                     void* v,
                     const float* grad,
                     std::int64_t count,
                     const Hyperparameters& h,
                     int step) {
  return {.param = param,
          .m = m,
          .v = v,
          .grad = grad,
          .count = count,
          .learning_rate = h.learning_rate,
          .beta1 = h.beta1,
          .beta2 = h.beta2,
          .epsilon = h.epsilon,
          .weight_decay = h.weight_decay,
          .grad_scale = h.grad_scale,
          .bias_correction1 = static_cast<float>(1.0 - std::pow(double{h.beta1}, step)),
          .bias_correction2 = static_cast<float>(1.0 - std::pow(double{h.beta2}, step))};
}

class AdamW : public ::testing::TestWithParam<std::int64_t> {
 protected:
  static constexpr int kSteps = 3;
  std::int64_t count = GetParam();
  std::vector<float> param = random_values("param", count);
  std::vector<std::vector<float>> grads{random_values("grad 1", count),
                                        random_values("grad 2", count, 0.1),
                                        random_values("grad 3", count, 10.0)};

  // {param, m, v} after kSteps steps
  Results run(ThreadPool& pool, const Hyperparameters& h, BFloat16* copy_or_null = nullptr) const {
    const GuardedBuffer<float> param_buffer(param);
    const GuardedBuffer<float> m(std::vector<float>(param.size(), 0.0F));
    const GuardedBuffer<float> v(std::vector<float>(param.size(), 0.0F));
    for (int step = 1; step <= kSteps; ++step) {
      const std::vector<float>& grad = grads[static_cast<std::size_t>(step - 1)];
      const GuardedBuffer<float> grad_buffer(grad);
      ops::AdamW args =
          arguments(param_buffer.get(), m.get(), v.get(), grad_buffer.get(), count, h, step);
      args.copy_or_null = copy_or_null;
      adamw(args, pool);
      EXPECT_TRUE(testing::same_bits(grad_buffer.values(), grad));
    }
    return {param_buffer.values(), m.values(), v.values()};
  }

  void expect_reference(const Hyperparameters& h) const {
    reference::AdamWState state{testing::to_float64(param), reference::Values(param.size()),
                                reference::Values(param.size())};
    for (int step = 1; step <= kSteps; ++step) {
      reference::adamw(state, testing::to_float64(grads[static_cast<std::size_t>(step - 1)]),
                       to_float64(h), step);
    }
    const Results actual =
        testing::run_with_any_threads([&](ThreadPool& pool) { return run(pool, h); });
    // A few float32 roundings (6e-8 each) per step.
    EXPECT_TRUE(near_reference(actual[0], state.param, 5e-7));
    EXPECT_TRUE(near_reference(actual[1], state.m, 5e-7));
    EXPECT_TRUE(near_reference(actual[2], state.v, 5e-7));
  }
};

TEST_P(AdamW, MatchesReference) {
  expect_reference({});
}
TEST_P(AdamW, MatchesReferenceWithoutDecay) {
  expect_reference({.weight_decay = 0.0F});
}
TEST_P(AdamW, ScalesGradients) {
  expect_reference({.grad_scale = 0.03125F});
}
TEST_P(AdamW, AddsEpsilonAfterTheRoot) {
  expect_reference({.epsilon = 0.5F});
}

// The copy is the parameter rounded once; nothing else is changed by it.
TEST_P(AdamW, WritesACopyOfTheParameter) {
  const Results plain =
      testing::run_with_any_threads([&](ThreadPool& pool) { return run(pool, Hyperparameters{}); });
  ThreadPool pool(2);
  const GuardedBuffer<BFloat16> copy(count);
  const Results with_copy = run(pool, Hyperparameters{}, copy.get());
  EXPECT_EQ(copy.values(), testing::to_elements<BFloat16>(plain[0]));
  for (std::size_t i = 0; i < plain.size(); ++i) {
    EXPECT_TRUE(testing::same_bits(with_copy[i], plain[i]));
  }
}

// What is written has the bits of the whole step; what is not, those from before.
TEST_P(AdamW, CanBeShownBeforeItIsTaken) {
  for (const DType moments : {DType::kFloat32, DType::kBFloat16}) {
    ThreadPool pool(2);
    const std::vector<float> stored = random_values("moments", count);  // halves of them: bfloat16
    const GuardedBuffer<float> grad(grads[0]);
    struct Arrays {
      GuardedBuffer<float> param, m, v;
      GuardedBuffer<BFloat16> copy;
    };
    const auto positive = [&] {
      std::vector<float> values = stored;
      for (float& value : values) value = std::abs(value);
      return values;
    };
    const auto fresh = [&] {
      return Arrays{GuardedBuffer<float>(param), GuardedBuffer<float>(positive()),
                    GuardedBuffer<float>(positive()), GuardedBuffer<BFloat16>(count)};
    };
    const auto step = [&](Arrays& arrays, ops::AdamWWrites writes, const float* from_or_null) {
      ops::AdamW args = arguments(arrays.param.get(), arrays.m.get(), arrays.v.get(), grad.get(),
                                  count, Hyperparameters{.grad_scale = 0.5F}, 2);
      args.moment_dtype = moments;
      args.rounding = {.seed = 5, .parameter = 1, .step = 2};
      args.copy_or_null = arrays.copy.get();
      args.writes = writes;
      args.from_or_null = from_or_null;
      adamw(args, pool);
    };
    const Arrays before = fresh();
    Arrays whole = fresh();
    step(whole, ops::AdamWWrites::kAll, nullptr);
    EXPECT_FALSE(testing::same_bits(whole.m.values(), before.m.values()));

    Arrays shown = fresh();
    step(shown, ops::AdamWWrites::kCopy, nullptr);
    EXPECT_EQ(shown.copy.values(), whole.copy.values());
    EXPECT_TRUE(testing::same_bits(shown.param.values(), before.param.values()));
    EXPECT_TRUE(testing::same_bits(shown.m.values(), before.m.values()));
    step(shown, ops::AdamWWrites::kParam, nullptr);
    EXPECT_TRUE(testing::same_bits(shown.param.values(), whole.param.values()));
    EXPECT_EQ(shown.copy.values(), whole.copy.values());
    EXPECT_TRUE(testing::same_bits(shown.m.values(), before.m.values()));
    EXPECT_TRUE(testing::same_bits(shown.v.values(), before.v.values()));
    step(shown, ops::AdamWWrites::kAll, before.param.get());
    EXPECT_TRUE(testing::same_bits(shown.param.values(), whole.param.values()));
    EXPECT_TRUE(testing::same_bits(shown.m.values(), whole.m.values()));
    EXPECT_TRUE(testing::same_bits(shown.v.values(), whole.v.values()));
    EXPECT_EQ(shown.copy.values(), whole.copy.values());
  }
}

INSTANTIATE_TEST_SUITE_P(Counts, AdamW, ::testing::Values(1, 3, 17, 130, 16385, 50257));

TEST(AdamWStep, FirstStepMovesByTheLearningRateAgainstTheSign) {
  std::vector<float> param{1.0F, 1.0F, 1.0F};
  std::vector<float> m(3, 0.0F);
  std::vector<float> v(3, 0.0F);
  const std::vector<float> grad{1e-3F, -1e3F, 0.0F};
  ThreadPool pool(1);
  const Hyperparameters h{.weight_decay = 0.0F};
  adamw(arguments(param.data(), m.data(), v.data(), grad.data(), 3, h, 1), pool);
  EXPECT_NEAR(param[0], 1.0F - h.learning_rate, 1e-6);
  EXPECT_NEAR(param[1], 1.0F + h.learning_rate, 1e-6);
  EXPECT_EQ(param[2], 1.0F);
}

TEST(AdamWStep, DecayIsDecoupledFromTheGradient) {
  std::vector<float> param{2.0F};
  std::vector<float> m{0.0F};
  std::vector<float> v{0.0F};
  const std::vector<float> grad{0.0F};
  ThreadPool pool(1);
  const Hyperparameters h{.learning_rate = 0.5F, .weight_decay = 0.25F};
  adamw(arguments(param.data(), m.data(), v.data(), grad.data(), 1, h, 1), pool);
  EXPECT_EQ(param[0], 1.75F);
  EXPECT_EQ(m[0], 0.0F);
  EXPECT_EQ(v[0], 0.0F);
}

// Moments in bfloat16: what float32 ones become in the same step, rounded with the words of the
// contract. Several steps, each from what the one before has kept.
class RoundedMoments : public ::testing::TestWithParam<std::int64_t> {
 protected:
  static constexpr int kSteps = 3;
  std::int64_t count = GetParam();
  std::vector<float> param = random_values("param", count);
  std::vector<std::vector<float>> grads{random_values("grad 1", count),
                                        random_values("grad 2", count, 0.1),
                                        random_values("grad 3", count, 10.0)};

  static RoundingStream stream(int step) {
    return {.seed = 77, .parameter = 5, .step = static_cast<std::uint32_t>(step)};
  }

  // Elements begin .. end - 1 in one call.
  void run_piece(ThreadPool& pool,
                 const std::vector<float*>& floats,
                 const std::vector<BFloat16*>& moments,
                 std::int64_t begin,
                 std::int64_t end,
                 int step) const {
    ops::AdamW args = arguments(floats[0] + begin, moments[0] + begin, moments[1] + begin,
                                floats[1] + begin, end - begin, {}, step);
    args.moment_dtype = DType::kBFloat16;
    args.rounding = stream(step);
    args.first_element = begin;
    args.copy_or_null = moments[2] + begin;
    adamw(args, pool);
  }

  // {param, m, v, copy} after kSteps steps, each cut at these elements.
  [[nodiscard]] Results run(ThreadPool& pool, const std::vector<std::int64_t>& cuts) const {
    const GuardedBuffer<float> param_buffer(param);
    const std::vector<BFloat16> zeros(param.size(), BFloat16{0});
    const GuardedBuffer<BFloat16> m(zeros);
    const GuardedBuffer<BFloat16> v(zeros);
    const GuardedBuffer<BFloat16> copy(count);
    for (int step = 1; step <= kSteps; ++step) {
      const GuardedBuffer<float> grad(grads[static_cast<std::size_t>(step - 1)]);
      std::int64_t begin = 0;
      for (std::int64_t cut : cuts) {
        cut = std::min(cut, count);
        run_piece(pool, {param_buffer.get(), grad.get()}, {m.get(), v.get(), copy.get()}, begin,
                  cut, step);
        begin = cut;
      }
      run_piece(pool, {param_buffer.get(), grad.get()}, {m.get(), v.get(), copy.get()}, begin,
                count, step);
    }
    return {param_buffer.values(), testing::to_float32(m.values()), testing::to_float32(v.values()),
            testing::to_float32(copy.values())};
  }

  // The same with moments in float32 that are rounded here.
  [[nodiscard]] Results expected() const {
    ThreadPool pool(1);
    std::vector<float> p = param;
    std::vector<float> m(p.size(), 0.0F);
    std::vector<float> v(p.size(), 0.0F);
    for (int step = 1; step <= kSteps; ++step) {
      const std::vector<float>& grad = grads[static_cast<std::size_t>(step - 1)];
      adamw(arguments(p.data(), m.data(), v.data(), grad.data(), count, {}, step), pool);
      m = testing::to_float32(testing::kept_first_moment(m, stream(step)));
      v = testing::to_float32(testing::kept_second_moment(v, stream(step)));
    }
    return {p, m, v, testing::to_float32(testing::to_elements<BFloat16>(p))};
  }

  static void expect_same(const Results& actual, const Results& wanted) {
    ASSERT_EQ(actual.size(), wanted.size());
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      EXPECT_TRUE(testing::same_bits(actual[i], wanted[i])) << "result " << i;
    }
  }
};

TEST_P(RoundedMoments, AreThoseOfFloat32Rounded) {
  expect_same(testing::run_with_any_threads([&](ThreadPool& pool) { return run(pool, {}); }),
              expected());
}

TEST_P(RoundedMoments, AreTheSameInPieces) {
  ThreadPool pool(2);
  const Results whole = run(pool, {});
  expect_same(run(pool, {1, 2, 7, 8, 24}), whole);
  expect_same(run(pool, {1023, 1025, 2050, 16389}), whole);
}

INSTANTIATE_TEST_SUITE_P(Counts,
                         RoundedMoments,
                         ::testing::Values(1, 3, 17, 130, 1024, 16385, 50257));

TEST(RoundedMomentsStep, NanAndInfinityStayWhereTheyAre) {
  ThreadPool pool(1);
  constexpr std::size_t kCount = 40;
  std::vector<float> param(kCount, 1.0F);
  std::vector<BFloat16> m(kCount, BFloat16{0});
  std::vector<BFloat16> v(kCount, BFloat16{0});
  std::vector<float> grad(kCount, 1.0F);
  grad[3] = std::nanf("");
  grad[21] = -INFINITY;
  grad[38] = 1e19F;  // its square is finite, and in v as well
  ops::AdamW args = arguments(param.data(), m.data(), v.data(), grad.data(), kCount, {}, 1);
  args.moment_dtype = DType::kBFloat16;
  adamw(args, pool);
  for (std::size_t i = 0; i < kCount; ++i) {
    EXPECT_EQ(std::isnan(to_float(m[i])), i == 3);
    EXPECT_EQ(std::isnan(to_float(v[i])), i == 3);
    EXPECT_EQ(std::isinf(to_float(m[i])), i == 21);
    EXPECT_EQ(std::isinf(to_float(v[i])), i == 21);
  }
  EXPECT_LT(to_float(m[21]), 0.0F);
}

}  // namespace
}  // namespace halfpipe::cpu
