// SPDX-License-Identifier: Apache-2.0
// LayerNorm on the CPU against the float64 reference.
#include "kernels/cpu/norm.h"

#include <gtest/gtest.h>

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

// A handful of float32 roundings (6e-8 each) per element.
constexpr double kTolerance = 5e-7;
constexpr float kEpsilon = 1e-5F;

enum class Alias { kNone, kX, kDout, kResidual };

class LayerNorm : public ::testing::TestWithParam<std::tuple<DType, std::int64_t, std::int64_t>> {
 protected:
  DType dtype = std::get<0>(GetParam());
  std::int64_t N = std::get<1>(GetParam());
  std::int64_t C = std::get<2>(GetParam());
  std::vector<float> x =
      representable(random_values("x", N* C, /*deviation=*/1.5, /*mean=*/0.5), dtype);
  std::vector<float> dout = representable(random_values("dout", N* C), dtype);
  std::vector<float> residual = representable(random_values("residual", N* C), dtype);
  std::vector<float> weight = representable(random_values("weight", C, 0.5, 1.0), dtype);
  std::vector<float> bias = representable(random_values("bias", C), dtype);
  double tolerance = testing::element_tolerance(dtype, kTolerance);

  [[nodiscard]] reference::LayerNormResult expected_forward(bool with_bias) const {
    return reference::layer_norm(to_float64(x), to_float64(weight),
                                 with_bias ? to_float64(bias) : reference::Values{}, N, C,
                                 kEpsilon);
  }
  [[nodiscard]] reference::LayerNormGradients expected_backward() const {
    return reference::layer_norm_backward(to_float64(dout), to_float64(x), to_float64(weight), N, C,
                                          kEpsilon);
  }

  // {out, mean, rstd}
  Results forward(DType type, ThreadPool& pool, bool with_bias, Alias alias) const {
    Results results;
    with_elements(type, [&](auto element) {
      using T = decltype(element);
      const GuardedBuffer<T> x_buffer(to_elements<T>(x));
      const GuardedBuffer<T> weight_buffer(to_elements<T>(weight));
      const GuardedBuffer<T> bias_buffer(to_elements<T>(bias));
      const GuardedBuffer<T> out(N * C);
      const GuardedBuffer<float> mean(N);
      const GuardedBuffer<float> rstd(N);
      const GuardedBuffer<T>& target = alias == Alias::kX ? x_buffer : out;
      layer_norm_forward({.out = target.get(),
                          .mean = mean.get(),
                          .rstd = rstd.get(),
                          .x = x_buffer.get(),
                          .weight = weight_buffer.get(),
                          .bias_or_null = with_bias ? bias_buffer.get() : nullptr,
                          .N = N,
                          .C = C,
                          .eps = kEpsilon,
                          .dtype = type},
                         pool);
      results = {to_float32(target.values()), mean.values(), rstd.values()};
    });
    return results;
  }

  // {dx}
  Results backward_input(DType type, ThreadPool& pool, bool with_residual, Alias alias) const {
    const Results saved = forward(type, pool, /*with_bias=*/true, Alias::kNone);
    const GuardedBuffer<float> mean(saved[1]);
    const GuardedBuffer<float> rstd(saved[2]);
    Results results;
    with_elements(type, [&](auto element) {
      using T = decltype(element);
      const GuardedBuffer<T> x_buffer(to_elements<T>(x));
      const GuardedBuffer<T> dout_buffer(to_elements<T>(dout));
      const GuardedBuffer<T> residual_buffer(to_elements<T>(residual));
      const GuardedBuffer<T> weight_buffer(to_elements<T>(weight));
      const GuardedBuffer<T> dx(N * C);
      const GuardedBuffer<T>& target = alias == Alias::kX          ? x_buffer
                                       : alias == Alias::kDout     ? dout_buffer
                                       : alias == Alias::kResidual ? residual_buffer
                                                                   : dx;
      layer_norm_backward_input(
          {.dx = target.get(),
           .dout = dout_buffer.get(),
           .x = x_buffer.get(),
           .mean = mean.get(),
           .rstd = rstd.get(),
           .weight = weight_buffer.get(),
           .residual_or_null = with_residual ? residual_buffer.get() : nullptr,
           .N = N,
           .C = C,
           .dtype = type},
          pool);
      results = {to_float32(target.values())};
    });
    return results;
  }

  // {dweight, dbias} after `times` calls on gradients that begin at `initial`.
  Results backward_weight(ThreadPool& pool, bool with_bias, float initial, int times) const {
    const Results saved = forward(dtype, pool, /*with_bias=*/true, Alias::kNone);
    const GuardedBuffer<float> mean(saved[1]);
    const GuardedBuffer<float> rstd(saved[2]);
    const GuardedBuffer<float> dweight(std::vector<float>(static_cast<std::size_t>(C), initial));
    const GuardedBuffer<float> dbias(std::vector<float>(static_cast<std::size_t>(C), initial));
    with_elements(dtype, [&](auto element) {
      using T = decltype(element);
      const GuardedBuffer<T> x_buffer(to_elements<T>(x));
      const GuardedBuffer<T> dout_buffer(to_elements<T>(dout));
      for (int i = 0; i < times; ++i) {
        layer_norm_backward_weight({.dweight = dweight.get(),
                                    .dbias_or_null = with_bias ? dbias.get() : nullptr,
                                    .dout = dout_buffer.get(),
                                    .x = x_buffer.get(),
                                    .mean = mean.get(),
                                    .rstd = rstd.get(),
                                    .N = N,
                                    .C = C,
                                    .scratch = nullptr,
                                    .dtype = dtype},
                                   pool);
      }
    });
    return {dweight.values(), dbias.values()};
  }
};

TEST_P(LayerNorm, ForwardMatchesReference) {
  const auto expected = expected_forward(/*with_bias=*/true);
  const Results actual = testing::run_with_any_threads(
      [&](ThreadPool& pool) { return forward(dtype, pool, /*with_bias=*/true, Alias::kNone); });
  EXPECT_TRUE(near_reference(actual[0], expected.out, tolerance));
  // Statistics are float32 whatever the type of x.
  EXPECT_TRUE(near_reference(actual[1], expected.mean, kTolerance));
  EXPECT_TRUE(near_reference(actual[2], expected.rstd, kTolerance));
}

TEST_P(LayerNorm, ForwardWithoutBiasMatchesReference) {
  ThreadPool pool(1);
  const Results actual = forward(dtype, pool, /*with_bias=*/false, Alias::kNone);
  EXPECT_TRUE(near_reference(actual[0], expected_forward(/*with_bias=*/false).out, tolerance));
}

TEST_P(LayerNorm, RoundsTheFloat32ResultOnce) {
  ThreadPool pool(1);
  const Results out = forward(dtype, pool, /*with_bias=*/true, Alias::kNone);
  const Results exact = forward(DType::kFloat32, pool, /*with_bias=*/true, Alias::kNone);
  EXPECT_TRUE(same_bits(out[0], representable(exact[0], dtype)));
  EXPECT_TRUE(same_bits(out[1], exact[1]));
  EXPECT_TRUE(same_bits(out[2], exact[2]));

  const Results dx = backward_input(dtype, pool, /*with_residual=*/true, Alias::kNone);
  const Results exact_dx =
      backward_input(DType::kFloat32, pool, /*with_residual=*/true, Alias::kNone);
  EXPECT_TRUE(same_bits(dx[0], representable(exact_dx[0], dtype)));
}

TEST_P(LayerNorm, ForwardMayOverwriteItsInput) {
  ThreadPool pool(2);
  EXPECT_EQ(forward(dtype, pool, /*with_bias=*/true, Alias::kX),
            forward(dtype, pool, /*with_bias=*/true, Alias::kNone));
}

TEST_P(LayerNorm, BackwardInputMatchesReference) {
  std::vector<double> expected = expected_backward().dx;
  const Results plain = testing::run_with_any_threads([&](ThreadPool& pool) {
    return backward_input(dtype, pool, /*with_residual=*/false, Alias::kNone);
  });
  EXPECT_TRUE(near_reference(plain[0], expected, tolerance));

  for (std::size_t i = 0; i < expected.size(); ++i) expected[i] += residual[i];
  const Results with_residual = testing::run_with_any_threads([&](ThreadPool& pool) {
    return backward_input(dtype, pool, /*with_residual=*/true, Alias::kNone);
  });
  EXPECT_TRUE(near_reference(with_residual[0], expected, tolerance));
}

TEST_P(LayerNorm, BackwardInputMayOverwriteAnyOperand) {
  ThreadPool pool(2);
  const Results expected = backward_input(dtype, pool, /*with_residual=*/true, Alias::kNone);
  for (const Alias alias : {Alias::kX, Alias::kDout, Alias::kResidual}) {
    EXPECT_EQ(backward_input(dtype, pool, /*with_residual=*/true, alias), expected);
  }
}

// Gradients of parameters are float32 whatever the type of x and dout.
TEST_P(LayerNorm, BackwardWeightAccumulates) {
  const auto gradients = expected_backward();
  const Results once = testing::run_with_any_threads(
      [&](ThreadPool& pool) { return backward_weight(pool, /*with_bias=*/true, 0.0F, 1); });
  EXPECT_TRUE(near_reference(once[0], gradients.dweight, kTolerance));
  EXPECT_TRUE(near_reference(once[1], gradients.dbias, kTolerance));

  std::vector<double> dweight = gradients.dweight;
  for (double& value : dweight) value = 3.0 + 2.0 * value;
  ThreadPool pool(2);
  const Results twice = backward_weight(pool, /*with_bias=*/false, 3.0F, 2);
  EXPECT_TRUE(near_reference(twice[0], dweight, kTolerance));
  EXPECT_EQ(twice[1], std::vector<float>(static_cast<std::size_t>(C), 3.0F));
}

INSTANTIATE_TEST_SUITE_P(TypesRowsAndWidths,
                         LayerNorm,
                         ::testing::Combine(::testing::Values(DType::kFloat32, DType::kBFloat16),
                                            ::testing::Values(1, 3, 17, 130),
                                            ::testing::Values(1, 5, 16, 33, 384, 1000)));

// The mean is far from zero compared with the spread: x - mean is exact but for the rounding of the
// mean to float32 (100 * 6e-8 against a spread of 0.1), and the variance must not cancel.
TEST(LayerNormForward, KeepsItsDigitsFarFromZero) {
  constexpr std::int64_t kN = 5;
  constexpr std::int64_t kC = 384;
  const auto x = random_values("offset", kN * kC, /*deviation=*/0.1, /*mean=*/100.0);
  const std::vector<float> weight(kC, 1.0F);
  const auto expected = reference::layer_norm(to_float64(x), to_float64(weight), {}, kN, kC, 1e-5);
  std::vector<float> out(x.size());
  std::vector<float> mean(kN);
  std::vector<float> rstd(kN);
  ThreadPool pool(1);
  layer_norm_forward(
      {out.data(), mean.data(), rstd.data(), x.data(), weight.data(), nullptr, kN, kC, 1e-5F},
      pool);
  EXPECT_TRUE(near_reference(out, expected.out, 1e-4));
  EXPECT_TRUE(near_reference(rstd, expected.rstd, 1e-6));
}

TEST(LayerNormForward, ConstantRowGivesTheBias) {
  constexpr std::int64_t kC = 33;
  const std::vector<float> x(kC, 7.25F);
  const std::vector<float> weight(kC, 2.0F);
  const std::vector<float> bias = random_values("bias", kC);
  std::vector<float> out(kC);
  float mean = 0.0F;
  float rstd = 0.0F;
  ThreadPool pool(1);
  layer_norm_forward({out.data(), &mean, &rstd, x.data(), weight.data(), bias.data(), 1, kC, 1e-5F},
                     pool);
  EXPECT_EQ(out, bias);
}

TEST(LayerNormForward, EmptyInputIsNoWork) {
  ThreadPool pool(2);
  layer_norm_forward({nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, 0, 8, 1e-5F}, pool);
}

TEST(LayerNormReference, BackwardIsTheDerivativeOfForward) {
  constexpr std::int64_t kN = 2;
  constexpr std::int64_t kC = 7;
  const auto x = to_float64(random_values("x", kN * kC));
  const auto weight = to_float64(random_values("weight", kC));
  const auto bias = to_float64(random_values("bias", kC));
  const auto dout = to_float64(random_values("dout", kN * kC));
  const auto gradients = reference::layer_norm_backward(dout, x, weight, kN, kC, 1e-5);
  auto of_x = [&](const reference::Values& v) {
    return reference::layer_norm(v, weight, bias, kN, kC, 1e-5).out;
  };
  auto of_weight = [&](const reference::Values& v) {
    return reference::layer_norm(x, v, bias, kN, kC, 1e-5).out;
  };
  auto of_bias = [&](const reference::Values& v) {
    return reference::layer_norm(x, weight, v, kN, kC, 1e-5).out;
  };
  using testing::central_differences;
  using testing::kCentralDifferenceTolerance;
  using testing::largest_difference;
  EXPECT_LT(largest_difference(gradients.dx, central_differences(of_x, x, dout)),
            kCentralDifferenceTolerance);
  EXPECT_LT(largest_difference(gradients.dweight, central_differences(of_weight, weight, dout)),
            kCentralDifferenceTolerance);
  EXPECT_LT(largest_difference(gradients.dbias, central_differences(of_bias, bias, dout)),
            kCentralDifferenceTolerance);
}

}  // namespace
}  // namespace halfpipe::cpu
