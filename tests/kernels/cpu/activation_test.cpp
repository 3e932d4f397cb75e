// SPDX-License-Identifier: Apache-2.0
// GELU on the CPU against the float64 reference.
#include "kernels/cpu/activation.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <tuple>
#include <vector>

#include "kernels/core/error.h"
#include "kernels/cpu/reduction.h"
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

class Gelu : public ::testing::TestWithParam<std::tuple<DType, std::int64_t>> {
 protected:
  DType dtype = std::get<0>(GetParam());
  std::int64_t count = std::get<1>(GetParam());
  std::vector<float> x = representable(random_values("x", count, /*deviation=*/2.0), dtype);
  std::vector<float> dout = representable(random_values("dout", count), dtype);
  double tolerance = testing::element_tolerance(dtype, kTolerance);

  Results forward(DType type, ThreadPool& pool, bool in_place = false) const {
    Results results;
    with_elements(type, [&](auto element) {
      using T = decltype(element);
      const GuardedBuffer<T> x_buffer(to_elements<T>(x));
      const GuardedBuffer<T> out(count);
      const GuardedBuffer<T>& target = in_place ? x_buffer : out;
      gelu_forward({target.get(), x_buffer.get(), count, type}, pool);
      results = {to_float32(target.values())};
    });
    return results;
  }

  Results backward(DType type,
                   ThreadPool& pool,
                   bool over_x = false,
                   bool over_dout = false) const {
    Results results;
    with_elements(type, [&](auto element) {
      using T = decltype(element);
      const GuardedBuffer<T> x_buffer(to_elements<T>(x));
      const GuardedBuffer<T> dout_buffer(to_elements<T>(dout));
      const GuardedBuffer<T> dx(count);
      const GuardedBuffer<T>& target = over_x ? x_buffer : over_dout ? dout_buffer : dx;
      gelu_backward_input({target.get(), dout_buffer.get(), x_buffer.get(), count, type}, pool);
      results = {to_float32(target.values())};
    });
    return results;
  }
};

TEST_P(Gelu, ForwardMatchesReference) {
  const Results actual =
      testing::run_with_any_threads([&](ThreadPool& pool) { return forward(dtype, pool); });
  EXPECT_TRUE(near_reference(actual[0], reference::gelu(to_float64(x)), tolerance));
}

TEST_P(Gelu, BackwardMatchesReference) {
  const Results actual =
      testing::run_with_any_threads([&](ThreadPool& pool) { return backward(dtype, pool); });
  EXPECT_TRUE(near_reference(actual[0], reference::gelu_backward(to_float64(dout), to_float64(x)),
                             tolerance));
}

TEST_P(Gelu, RoundsTheFloat32ResultOnce) {
  ThreadPool pool(1);
  EXPECT_TRUE(
      same_bits(forward(dtype, pool)[0], representable(forward(DType::kFloat32, pool)[0], dtype)));
  EXPECT_TRUE(same_bits(backward(dtype, pool)[0],
                        representable(backward(DType::kFloat32, pool)[0], dtype)));
}

TEST_P(Gelu, MayOverwriteItsOperands) {
  ThreadPool pool(2);
  EXPECT_EQ(forward(dtype, pool, /*in_place=*/true), forward(dtype, pool));
  EXPECT_EQ(backward(dtype, pool, /*over_x=*/true), backward(dtype, pool));
  EXPECT_EQ(backward(dtype, pool, /*over_x=*/false, /*over_dout=*/true), backward(dtype, pool));
}

INSTANTIATE_TEST_SUITE_P(
    TypesAndCounts,
    Gelu,
    ::testing::Combine(::testing::Values(DType::kFloat32, DType::kBFloat16),
                       ::testing::Values(1, 3, 17, 513, 16384, 16385, 130'001)));

std::vector<float> gelu_of(const std::vector<float>& x) {
  std::vector<float> out(x.size());
  ThreadPool pool(1);
  gelu_forward({out.data(), x.data(), static_cast<std::int64_t>(x.size())}, pool);
  return out;
}

std::vector<float> gelu_derivative_of(const std::vector<float>& x) {
  std::vector<float> dx(x.size());
  const std::vector<float> ones(x.size(), 1.0F);
  ThreadPool pool(1);
  gelu_backward_input({dx.data(), ones.data(), x.data(), static_cast<std::int64_t>(x.size())},
                      pool);
  return dx;
}

// Element by element. A relative error of t is, times |t|, one of exp(-t), and t collects four
// roundings; for negative x that is the error of gelu, where gelu itself is small (-1e-3 at x =
// -3.2 with t = -7.5).
TEST(GeluForward, IsAccurateElementByElement) {
  std::vector<float> x;
  for (int i = -9000; i <= 9000; ++i) x.push_back(static_cast<float>(i) * 1e-3F);
  const std::vector<float> out = gelu_of(x);
  const std::vector<double> expected = reference::gelu(to_float64(x));
  constexpr double kRounding = std::numeric_limits<float>::epsilon() / 2;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double t = 1.6 * std::abs(x[i]) * (1.0 + 0.045 * x[i] * x[i]);
    const double allowed = 4.0 + (x[i] < 0.0F ? 4.0 * t : 0.0);
    EXPECT_LE(std::abs(out[i] - expected[i]), allowed * kRounding * std::abs(expected[i]) + 1e-40)
        << "x = " << x[i];
  }
}

TEST(GeluForward, IsTheIdentityOrZeroFarOut) {
  const std::vector<float> x{-1e30F, -1e4F, -20.0F, 0.0F, 20.0F, 1e4F, 1e30F};
  EXPECT_EQ(gelu_of(x), (std::vector<float>{0.0F, 0.0F, 0.0F, 0.0F, 20.0F, 1e4F, 1e30F}));
}

TEST(GeluForward, PassesNanOn) {
  EXPECT_TRUE(std::isnan(gelu_of({std::nanf("")})[0]));
  EXPECT_TRUE(std::isnan(gelu_derivative_of({std::nanf("")})[0]));
}

TEST(GeluForward, IsTheIdentityOrZeroFarOutInBFloat16) {
  const auto x = to_elements<BFloat16>({-1e30F, -20.0F, 0.0F, 20.0F, 1e4F, 1e30F});
  std::vector<BFloat16> out(x.size());
  ThreadPool pool(1);
  gelu_forward({out.data(), x.data(), static_cast<std::int64_t>(x.size()), DType::kBFloat16}, pool);
  EXPECT_EQ(to_float32(out),
            representable({0.0F, 0.0F, 0.0F, 20.0F, 1e4F, 1e30F}, DType::kBFloat16));
}

TEST(GeluBackwardInput, IsOneOrZeroFarOut) {
  const std::vector<float> x{-1e30F, -1e4F, -20.0F, 20.0F, 1e4F, 1e30F};
  EXPECT_EQ(gelu_derivative_of(x), (std::vector<float>{0.0F, 0.0F, 0.0F, 1.0F, 1.0F, 1.0F}));
}

TEST(GeluReference, BackwardIsTheDerivativeOfForward) {
  const auto x = to_float64(random_values("x", 60, 2.0));
  const auto dout = to_float64(random_values("dout", 60));
  EXPECT_LT(testing::largest_difference(reference::gelu_backward(dout, x),
                                        testing::central_differences(reference::gelu, x, dout)),
            testing::kCentralDifferenceTolerance);
}

// What ColumnSum, held against float64 elsewhere, adds of the gradient.
TEST(GeluWithBiasGradient, HasTheBitsOfTheTwoApart) {
  constexpr std::int64_t kN = 70;
  constexpr std::int64_t kC = 19;
  for (const DType dtype : {DType::kFloat32, DType::kBFloat16}) {
    with_elements(dtype, [&](auto element) {
      using T = decltype(element);
      const GuardedBuffer<T> x(to_elements<T>(random_values("x", kN * kC)));
      const GuardedBuffer<T> dout(to_elements<T>(random_values("dout", kN * kC)));
      const std::vector<float> before = random_values("dbias", kC);
      const Results results = testing::run_with_any_threads([&](ThreadPool& pool) {
        const GuardedBuffer<T> dx(kN * kC);
        const GuardedBuffer<float> dbias(before);
        ops::GeluBackwardInput args{dx.get(), dout.get(), x.get(), kN * kC, dtype};
        args.dbias_or_null = dbias.get();
        args.C = kC;
        gelu_backward_input(args, pool);
        return Results{to_float32(dx.values()), dbias.values()};
      });
      ThreadPool pool(1);
      const GuardedBuffer<T> dx(kN * kC);
      const GuardedBuffer<float> dbias(before);
      gelu_backward_input({dx.get(), dout.get(), x.get(), kN * kC, dtype}, pool);
      column_sum({dbias.get(), dx.get(), kN, kC, nullptr, dtype}, pool);
      EXPECT_TRUE(same_bits(results[0], to_float32(dx.values())));
      EXPECT_TRUE(same_bits(results[1], dbias.values()));
    });
  }
}

TEST(GeluWithBiasGradient, RefusesRowsThatAreNotWhole) {
  ThreadPool pool(1);
  float dbias = 0.0F;
  ops::GeluBackwardInput args{};
  args.dbias_or_null = &dbias;
  EXPECT_THROW(gelu_backward_input(args, pool), InternalError);  // no columns
  args.C = 3;
  EXPECT_NO_THROW(gelu_backward_input(args, pool));  // no rows
  EXPECT_THROW(
      (void)ops::column_sum_of({nullptr, nullptr, nullptr, 10, DType::kFloat32, &dbias, 3}),
      InternalError);
}

}  // namespace
}  // namespace halfpipe::cpu
