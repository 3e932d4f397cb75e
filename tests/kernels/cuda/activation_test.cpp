// SPDX-License-Identifier: Apache-2.0
// GELU on the GPU against the float64 reference.
#include "kernels/cuda/activation.h"

#include <gtest/gtest.h>

#include <cmath>
#include <tuple>
#include <vector>

#include "kernels/cuda/reduction.h"
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

// A handful of float32 roundings (6e-8 each) per element; exp2f and __fdividef are 2 ulp off.
constexpr double kTolerance = 5e-7;

// Element type, count, elements past a 16-byte boundary at which the arrays begin.
class Gelu : public ::testing::TestWithParam<std::tuple<DType, std::int64_t, std::size_t>> {
 protected:
  DType dtype = std::get<0>(GetParam());
  std::int64_t count = std::get<1>(GetParam());
  std::size_t offset = std::get<2>(GetParam());
  Values x = representable(random_values("x", count, /*deviation=*/2.0), dtype);
  Values dout = representable(random_values("dout", count), dtype);

  [[nodiscard]] Values forward(bool in_place) const {
    const DeviceArray x_array(dtype, x, offset);
    const DeviceArray out(dtype, count, offset);
    const DeviceArray& target = in_place ? x_array : out;
    gelu_forward({target.get(), x_array.get(), count, dtype}, nullptr);
    return target.values();
  }

  [[nodiscard]] Values backward(bool over_x, bool over_dout) const {
    const DeviceArray x_array(dtype, x, offset);
    const DeviceArray dout_array(dtype, dout, offset);
    const DeviceArray dx(dtype, count, offset);
    const DeviceArray& target = over_x ? x_array : over_dout ? dout_array : dx;
    gelu_backward_input({target.get(), dout_array.get(), x_array.get(), count, dtype}, nullptr);
    return target.values();
  }
};

TEST_P(Gelu, ForwardMatchesReference) {
  EXPECT_TRUE(near_reference(forward(false), reference::gelu(to_float64(x)),
                             testing::element_tolerance(dtype, kTolerance)));
}

TEST_P(Gelu, BackwardMatchesReference) {
  EXPECT_TRUE(near_reference(backward(false, false),
                             reference::gelu_backward(to_float64(dout), to_float64(x)),
                             testing::element_tolerance(dtype, kTolerance)));
}

TEST_P(Gelu, MayOverwriteItsOperandsAndRepeatsItsBits) {
  EXPECT_TRUE(testing::same_bits(forward(true), forward(false)));
  EXPECT_TRUE(testing::same_bits(backward(true, false), backward(false, false)));
  EXPECT_TRUE(testing::same_bits(backward(false, true), backward(false, false)));
}

INSTANTIATE_TEST_SUITE_P(Counts,
                         Gelu,
                         ::testing::Combine(::testing::Values(DType::kFloat32, DType::kBFloat16),
                                            ::testing::Values(1, 3, 17, 2048, 4101, 40'001),
                                            ::testing::Values(0, 1)));

// Element type, rows, columns, elements past a 16-byte boundary at which the arrays begin.
class GeluWithBiasGradient
    : public ::testing::TestWithParam<std::tuple<DType, std::int64_t, std::int64_t, std::size_t>> {
};

// What GELU's gradient and ColumnSum, held against float64 elsewhere, give one after the other.
TEST_P(GeluWithBiasGradient, HasTheBitsOfTheTwoApart) {
  const auto& [dtype, N, C, offset] = GetParam();
  const Values x = representable(random_values("x", N * C, /*deviation=*/2.0), dtype);
  const Values dout = representable(random_values("dout", N * C), dtype);
  const Values before = random_values("dbias", C);
  const DeviceArray x_array(dtype, x, offset);
  const DeviceArray dout_array(dtype, dout, offset);
  const DeviceArray dx(dtype, N * C, offset);
  const DeviceArray dbias(DType::kFloat32, before);
  const DeviceArray expected_dbias(DType::kFloat32, before);
  ops::GeluBackwardInput args{dx.get(), dout_array.get(), x_array.get(), N * C, dtype};
  ops::ColumnSum sum{expected_dbias.as<float>(), dx.get(), N, C, nullptr, dtype};
  const DeviceArray scratch(DType::kFloat32,
                            static_cast<std::int64_t>(column_sum_scratch_bytes(sum)) / 4);
  sum.scratch = scratch.get();
  gelu_backward_input(args, nullptr);
  column_sum(sum, nullptr);
  const Values expected_dx = dx.values();
  args.dx = x_array.get();  // in place, as in a block
  args.dbias_or_null = dbias.as<float>();
  args.C = C;
  args.scratch = scratch.get();
  gelu_backward_input(args, nullptr);
  EXPECT_TRUE(testing::same_bits(x_array.values(), expected_dx));
  EXPECT_TRUE(testing::same_bits(dbias.values(), expected_dbias.values()));
}

INSTANTIATE_TEST_SUITE_P(Shapes,
                         GeluWithBiasGradient,
                         ::testing::Combine(::testing::Values(DType::kFloat32, DType::kBFloat16),
                                            ::testing::Values(1, 7, 130, 1000),
                                            ::testing::Values(1, 8, 72, 256),
                                            ::testing::Values(0, 1)));

class GeluExtremes : public ::testing::TestWithParam<DType> {
 protected:
  [[nodiscard]] Values forward(const Values& x) const {
    const DeviceArray array(GetParam(), x);
    gelu_forward({array.get(), array.get(), static_cast<std::int64_t>(x.size()), GetParam()},
                 nullptr);
    return array.values();
  }
  [[nodiscard]] Values derivative(const Values& x) const {
    const DeviceArray dx(GetParam(), x);
    const DeviceArray dout(GetParam(), Values(x.size(), 1.0F));
    gelu_backward_input(
        {dx.get(), dout.get(), dx.get(), static_cast<std::int64_t>(x.size()), GetParam()}, nullptr);
    return dx.values();
  }
};

TEST_P(GeluExtremes, FarOutIsTheIdentityOrZero) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const Values x =
      representable({-1e30F, -1e4F, -20.0F, 0.0F, 20.0F, 1e4F, 1e30F, kInfinity}, GetParam());
  Values expected = x;
  for (float& value : expected) value = std::max(value, 0.0F);
  EXPECT_EQ(forward(x), expected);
  EXPECT_EQ(derivative(x), (Values{0.0F, 0.0F, 0.0F, 0.5F, 1.0F, 1.0F, 1.0F, 1.0F}));
}

TEST_P(GeluExtremes, NanIsPassedOn) {
  const Values x(9, std::nanf(""));  // a vector and one more
  for (const float value : forward(x)) EXPECT_TRUE(std::isnan(value));
  for (const float value : derivative(x)) EXPECT_TRUE(std::isnan(value));
}

TEST_P(GeluExtremes, EmptyInputIsNoWork) {
  gelu_forward({nullptr, nullptr, 0, GetParam()}, nullptr);
  gelu_backward_input({nullptr, nullptr, nullptr, 0, GetParam()}, nullptr);
}

INSTANTIATE_TEST_SUITE_P(DTypes,
                         GeluExtremes,
                         ::testing::Values(DType::kFloat32, DType::kBFloat16));

// For negative x the relative error of exp(-t) is the error of gelu: |t| times that of t, which
// collects four roundings, and 2 ulp each for exp2f and the division.
TEST(GeluForward, IsAccurateElementByElement) {
  Values x;
  for (int i = -9000; i <= 9000; ++i) x.push_back(static_cast<float>(i) * 1e-3F);
  const DeviceArray array(DType::kFloat32, x);
  gelu_forward({array.get(), array.get(), static_cast<std::int64_t>(x.size()), DType::kFloat32},
               nullptr);
  const Values out = array.values();
  const std::vector<double> expected = reference::gelu(to_float64(x));
  constexpr double kRounding = std::numeric_limits<float>::epsilon() / 2;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double t = 1.6 * std::abs(x[i]) * (1.0 + 0.045 * x[i] * x[i]);
    const double allowed = 9.0 + (x[i] < 0.0F ? 5.0 * t : 0.0);
    // The division returns 0 where the divisor is above 2^126: results below 1e-36.
    EXPECT_LE(std::abs(out[i] - expected[i]), allowed * kRounding * std::abs(expected[i]) + 1e-36)
        << "x = " << x[i];
  }
}

}  // namespace
}  // namespace halfpipe::cuda
