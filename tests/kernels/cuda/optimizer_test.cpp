// SPDX-License-Identifier: Apache-2.0
// AdamW on the GPU against the float64 reference.
#include "kernels/cuda/optimizer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <tuple>
#include <vector>

#include "tests/kernels/compare.h"
#include "tests/kernels/cuda/device_array.h"
#include "tests/kernels/element_values.h"
#include "tests/kernels/moments_in_bfloat16.h"
#include "tests/kernels/random_values.h"
#include "tests/kernels/reference.h"

namespace halfpipe::cuda {
namespace {

using testing::DeviceArray;
using testing::near_reference;
using testing::random_values;
using Values = std::vector<float>;

struct Hyperparameters {
  float learning_rate = 0.02F;
  float beta1 = 0.9F;
  float beta2 = 0.95F;
  float epsilon = 1e-8F;
  float weight_decay = 0.1F;
  float grad_scale = 1.0F;
};

struct Arrays {
  const DeviceArray& param;
  const DeviceArray& m;
  const DeviceArray& v;
  const DeviceArray& grad;
  const DeviceArray* copy_or_null;
};

// What only moments in bfloat16 need.
struct Rounding {
  DType moment_dtype = DType::kFloat32;
  RoundingStream stream = {};
  std::int64_t first_element = 0;
};

struct Way {
  ops::AdamWWrites writes = ops::AdamWWrites::kAll;
  const DeviceArray* from_or_null = nullptr;
};

void run_step(const Arrays& arrays,
              std::int64_t count,
              const Hyperparameters& h,
              int step,
              const Rounding& rounding = {},
              const Way& way = {}) {
  adamw({.param = arrays.param.as<float>(),
         .m = arrays.m.get(),
         .v = arrays.v.get(),
         .grad = arrays.grad.as<float>(),
         .count = count,
         .learning_rate = h.learning_rate,
         .beta1 = h.beta1,
         .beta2 = h.beta2,
         .epsilon = h.epsilon,
         .weight_decay = h.weight_decay,
         .grad_scale = h.grad_scale,
         .bias_correction1 = static_cast<float>(1.0 - std::pow(double{h.beta1}, step)),
         .bias_correction2 = static_cast<float>(1.0 - std::pow(double{h.beta2}, step)),
         .copy_or_null =
             arrays.copy_or_null != nullptr ? arrays.copy_or_null->as<BFloat16>() : nullptr,
         .moment_dtype = rounding.moment_dtype,
         .rounding = rounding.stream,
         .first_element = rounding.first_element,
         .writes = way.writes,
         .from_or_null = way.from_or_null != nullptr ? way.from_or_null->as<float>() : nullptr},
        nullptr);
}

// Count, elements past a 16-byte boundary at which the arrays begin.
class AdamW : public ::testing::TestWithParam<std::tuple<std::int64_t, std::size_t>> {
 protected:
  static constexpr int kSteps = 3;
  std::int64_t count = std::get<0>(GetParam());
  std::size_t offset = std::get<1>(GetParam());
  Values param = random_values("param", count);
  std::vector<Values> grads{random_values("grad 1", count), random_values("grad 2", count, 0.1),
                            random_values("grad 3", count, 10.0)};

  // {param, m, v, copy} after kSteps steps; without a copy, that is NaN.
  [[nodiscard]] std::vector<Values> run(const Hyperparameters& h, bool with_copy) const {
    const Values zeros(param.size(), 0.0F);
    const DeviceArray param_array(DType::kFloat32, param, offset);
    const DeviceArray m(DType::kFloat32, zeros, offset);
    const DeviceArray v(DType::kFloat32, zeros, offset);
    const DeviceArray copy(DType::kBFloat16, count, offset);
    for (int step = 1; step <= kSteps; ++step) {
      const Values& grad = grads[static_cast<std::size_t>(step - 1)];
      const DeviceArray grad_array(DType::kFloat32, grad, offset);
      run_step({param_array, m, v, grad_array, with_copy ? &copy : nullptr}, count, h, step);
      EXPECT_TRUE(testing::same_bits(grad_array.values(), grad));
    }
    return {param_array.values(), m.values(), v.values(), copy.values()};
  }

  void expect_reference(const Hyperparameters& h) const {
    reference::AdamWState state{testing::to_float64(param), reference::Values(param.size()),
                                reference::Values(param.size())};
    for (int step = 1; step <= kSteps; ++step) {
      reference::adamw(state, testing::to_float64(grads[static_cast<std::size_t>(step - 1)]),
                       {h.learning_rate, h.beta1, h.beta2, h.epsilon, h.weight_decay, h.grad_scale},
                       step);
    }
    const std::vector<Values> actual = run(h, /*with_copy=*/false);
    // A few float32 roundings (6e-8 each) per step.
    EXPECT_TRUE(near_reference(actual[0], state.param, 5e-7));
    EXPECT_TRUE(near_reference(actual[1], state.m, 5e-7));
    EXPECT_TRUE(near_reference(actual[2], state.v, 5e-7));
  }
};

TEST_P(AdamW, MatchesReference) {
  expect_reference({});
}
TEST_P(AdamW, ScalesGradients) {
  expect_reference({.weight_decay = 0.0F, .grad_scale = 0.03125F});
}
TEST_P(AdamW, AddsEpsilonAfterTheRoot) {
  expect_reference({.epsilon = 0.5F});
}

TEST_P(AdamW, CopyIsTheRoundedParameter) {
  const std::vector<Values> plain = run({}, /*with_copy=*/false);
  const std::vector<Values> copied = run({}, /*with_copy=*/true);
  for (std::size_t i = 0; i < 3; ++i) EXPECT_TRUE(testing::same_bits(copied[i], plain[i]));
  EXPECT_TRUE(testing::same_bits(copied[3], testing::representable(copied[0], DType::kBFloat16)));
}

// What is written has the bits of the whole step; what is not, those from before.
TEST_P(AdamW, CanBeShownBeforeItIsTaken) {
  for (const DType moments : {DType::kFloat32, DType::kBFloat16}) {
    const Rounding rounding{moments, {.seed = 5, .parameter = 1, .step = 2}, 0};
    Values positive = random_values("moments", count);
    for (float& value : positive) value = std::abs(value);
    const DeviceArray grad(DType::kFloat32, grads[0], offset);
    const DeviceArray before(DType::kFloat32, param, offset);
    struct Stepped {
      DeviceArray param, m, v, copy;
    };
    const auto fresh = [&] {
      return Stepped{DeviceArray(DType::kFloat32, param, offset),
                     DeviceArray(moments, positive, offset), DeviceArray(moments, positive, offset),
                     DeviceArray(DType::kBFloat16, count, offset)};
    };
    const auto step = [&](const Stepped& arrays, const Way& way) {
      run_step({arrays.param, arrays.m, arrays.v, grad, &arrays.copy}, count,
               Hyperparameters{.grad_scale = 0.5F}, 2, rounding, way);
    };
    const Stepped whole = fresh();
    step(whole, {});
    const Values old_m = fresh().m.values();
    EXPECT_FALSE(testing::same_bits(whole.m.values(), old_m));

    const Stepped shown = fresh();
    step(shown, {.writes = ops::AdamWWrites::kCopy});
    EXPECT_TRUE(testing::same_bits(shown.copy.values(), whole.copy.values()));
    EXPECT_TRUE(testing::same_bits(shown.param.values(), param));
    EXPECT_TRUE(testing::same_bits(shown.m.values(), old_m));
    step(shown, {.writes = ops::AdamWWrites::kParam});
    EXPECT_TRUE(testing::same_bits(shown.param.values(), whole.param.values()));
    EXPECT_TRUE(testing::same_bits(shown.m.values(), old_m));
    step(shown, {.from_or_null = &before});
    EXPECT_TRUE(testing::same_bits(shown.param.values(), whole.param.values()));
    EXPECT_TRUE(testing::same_bits(shown.copy.values(), whole.copy.values()));
    EXPECT_TRUE(testing::same_bits(shown.m.values(), whole.m.values()));
    EXPECT_TRUE(testing::same_bits(shown.v.values(), whole.v.values()));
  }
}

INSTANTIATE_TEST_SUITE_P(Counts,
                         AdamW,
                         ::testing::Combine(::testing::Values(1, 3, 17, 2048, 16389),
                                            ::testing::Values(0, 1)));

TEST(AdamWStep, NanGradientReachesAllThatItTouches) {
  const DeviceArray param(DType::kFloat32, Values(9, 1.0F));
  const DeviceArray m(DType::kFloat32, Values(9, 0.0F));
  const DeviceArray v(DType::kFloat32, Values(9, 0.0F));
  Values gradient(9, 1.0F);
  gradient[2] = std::nanf("");
  const DeviceArray grad(DType::kFloat32, gradient);
  const DeviceArray copy(DType::kBFloat16, 9);
  run_step({param, m, v, grad, &copy}, 9, {}, 1);
  for (const DeviceArray* array : {&param, &m, &v, &copy}) {
    const Values values = array->values();
    for (std::size_t i = 0; i < values.size(); ++i) EXPECT_EQ(std::isnan(values[i]), i == 2);
  }
}

// Moments in bfloat16: what float32 ones become in the same step, rounded with the words of the
// contract. Several steps, each from what the one before has kept. Count, elements past a 16-byte
// boundary, first element.
class RoundedMoments
    : public ::testing::TestWithParam<std::tuple<std::int64_t, std::size_t, std::int64_t>> {
 protected:
  static constexpr int kSteps = 3;
  std::int64_t count = std::get<0>(GetParam());
  std::size_t offset = std::get<1>(GetParam());
  std::int64_t first_element = std::get<2>(GetParam());
  Values param = random_values("param", count);
  Values zeros = Values(param.size(), 0.0F);
  std::vector<Values> grads{random_values("grad 1", count), random_values("grad 2", count, 0.1),
                            random_values("grad 3", count, 10.0)};

  static RoundingStream stream(int step) {
    return {.seed = 77, .parameter = 5, .step = static_cast<std::uint32_t>(step)};
  }
  [[nodiscard]] const Values& grad(int step) const {
    return grads[static_cast<std::size_t>(step - 1)];
  }

  // {param, m, v} after kSteps steps.
  [[nodiscard]] std::vector<Values> run(bool with_copy) const {
    const DeviceArray param_array(DType::kFloat32, param, offset);
    const DeviceArray m(DType::kBFloat16, zeros, offset);
    const DeviceArray v(DType::kBFloat16, zeros, offset);
    const DeviceArray copy(DType::kBFloat16, count, offset);
    for (int step = 1; step <= kSteps; ++step) {
      const DeviceArray grad_array(DType::kFloat32, grad(step), offset);
      run_step({param_array, m, v, grad_array, with_copy ? &copy : nullptr}, count, {}, step,
               {DType::kBFloat16, stream(step), first_element});
    }
    if (with_copy) {
      EXPECT_TRUE(testing::same_bits(
          copy.values(), testing::representable(param_array.values(), DType::kBFloat16)));
    }
    return {param_array.values(), m.values(), v.values()};
  }

  // The same with moments in float32 that are rounded here.
  [[nodiscard]] std::vector<Values> expected() const {
    std::vector<Values> state{param, zeros, zeros};
    for (int step = 1; step <= kSteps; ++step) {
      const DeviceArray param_array(DType::kFloat32, state[0]);
      const DeviceArray m(DType::kFloat32, state[1]);
      const DeviceArray v(DType::kFloat32, state[2]);
      const DeviceArray grad_array(DType::kFloat32, grad(step));
      run_step({param_array, m, v, grad_array, nullptr}, count, {}, step);
      const auto kept_m = testing::kept_first_moment(m.values(), stream(step), first_element);
      const auto kept_v = testing::kept_second_moment(v.values(), stream(step), first_element);
      state = {param_array.values(), testing::to_float32(kept_m), testing::to_float32(kept_v)};
    }
    return state;
  }
};

TEST_P(RoundedMoments, AreThoseOfFloat32Rounded) {
  const std::vector<Values> wanted = expected();
  for (const bool with_copy : {false, true}) {
    const std::vector<Values> actual = run(with_copy);
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      EXPECT_TRUE(testing::same_bits(actual[i], wanted[i])) << "result " << i;
    }
  }
}

// A whole parameter; pieces that begin with a group of random words and within one.
INSTANTIATE_TEST_SUITE_P(Counts,
                         RoundedMoments,
                         ::testing::Combine(::testing::Values(1, 3, 17, 2048, 16389),
                                            ::testing::Values(0, 1),
                                            ::testing::Values(0, 4, 16387)));

TEST(RoundedMomentsStep, NanGradientReachesAllThatItTouches) {
  const DeviceArray param(DType::kFloat32, Values(9, 1.0F));
  const DeviceArray m(DType::kBFloat16, Values(9, 0.0F));
  const DeviceArray v(DType::kBFloat16, Values(9, 0.0F));
  Values gradient(9, 1.0F);
  gradient[2] = std::nanf("");
  gradient[8] = INFINITY;
  const DeviceArray grad(DType::kFloat32, gradient);
  run_step({param, m, v, grad, nullptr}, 9, {}, 1, {DType::kBFloat16, {}, 0});
  for (const DeviceArray* array : {&m, &v}) {
    const Values values = array->values();
    for (std::size_t i = 0; i < values.size(); ++i) {
      EXPECT_EQ(std::isnan(values[i]), i == 2);
      EXPECT_EQ(std::isinf(values[i]), i == 8);
    }
  }
}

}  // namespace
}  // namespace halfpipe::cuda
