// SPDX-License-Identifier: Apache-2.0
// LayerNorm on the GPU against the float64 reference.
#include "kernels/cuda/norm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <tuple>
#include <vector>

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

// A handful of float32 roundings (6e-8 each) per element.
constexpr double kTolerance = 5e-7;
constexpr float kEpsilon = 1e-5F;

enum class Alias { kNone, kX, kDout, kResidual };

// Element type, N, C, elements past a 16-byte boundary at which the [N, C] arrays begin.
class LayerNorm
    : public ::testing::TestWithParam<std::tuple<DType, std::int64_t, std::int64_t, std::size_t>> {
 protected:
  DType dtype = std::get<0>(GetParam());
  std::int64_t N = std::get<1>(GetParam());
  std::int64_t C = std::get<2>(GetParam());
  std::size_t offset = std::get<3>(GetParam());
  Values x = representable(random_values("x", N* C, /*deviation=*/1.5, /*mean=*/0.5), dtype);
  Values dout = representable(random_values("dout", N* C, 1.0, /*mean=*/0.5), dtype);
  Values residual = representable(random_values("residual", N* C), dtype);
  Values weight = representable(random_values("weight", C, 0.5, 1.0), dtype);
  Values bias = representable(random_values("bias", C), dtype);

  [[nodiscard]] double tolerance() const { return testing::element_tolerance(dtype, kTolerance); }
  [[nodiscard]] reference::LayerNormResult expected_forward(bool with_bias) const {
    return reference::layer_norm(to_float64(x), to_float64(weight),
                                 with_bias ? to_float64(bias) : reference::Values{}, N, C,
                                 kEpsilon);
  }
  [[nodiscard]] reference::LayerNormGradients expected_backward() const {
    return reference::layer_norm_backward(to_float64(dout), to_float64(x), to_float64(weight), N, C,
                                          kEpsilon);
  }
  [[nodiscard]] Values expected_statistic(const reference::Values& statistic) const {
    return {statistic.begin(), statistic.end()};
  }

  // {out, mean, rstd}
  [[nodiscard]] std::vector<Values> forward(bool with_bias, Alias alias) const {
    const DeviceArray x_array(dtype, x, offset);
    const DeviceArray weight_array(dtype, weight);
    const DeviceArray bias_array(dtype, bias);
    const DeviceArray out(dtype, N * C, offset);
    const DeviceArray mean(DType::kFloat32, N);
    const DeviceArray rstd(DType::kFloat32, N);
    const DeviceArray& target = alias == Alias::kX ? x_array : out;
    layer_norm_forward({.out = target.get(),
                        .mean = mean.as<float>(),
                        .rstd = rstd.as<float>(),
                        .x = x_array.get(),
                        .weight = weight_array.get(),
                        .bias_or_null = with_bias ? bias_array.get() : nullptr,
                        .N = N,
                        .C = C,
                        .eps = kEpsilon,
                        .dtype = dtype},
                       nullptr);
    return {target.values(), mean.values(), rstd.values()};
  }

  // dx; mean and rstd are those of the reference, rounded to float32
  [[nodiscard]] Values backward_input(bool with_residual, Alias alias) const {
    const auto saved = expected_forward(/*with_bias=*/false);
    const DeviceArray x_array(dtype, x, offset);
    const DeviceArray dout_array(dtype, dout, offset);
    const DeviceArray residual_array(dtype, residual, offset);
    const DeviceArray weight_array(dtype, weight);
    const DeviceArray mean(DType::kFloat32, expected_statistic(saved.mean));
    const DeviceArray rstd(DType::kFloat32, expected_statistic(saved.rstd));
    const DeviceArray dx(dtype, N * C, offset);
    const DeviceArray& target = alias == Alias::kX          ? x_array
                                : alias == Alias::kDout     ? dout_array
                                : alias == Alias::kResidual ? residual_array
                                                            : dx;
    layer_norm_backward_input({.dx = target.get(),
                               .dout = dout_array.get(),
                               .x = x_array.get(),
                               .mean = mean.as<float>(),
                               .rstd = rstd.as<float>(),
                               .weight = weight_array.get(),
                               .residual_or_null = with_residual ? residual_array.get() : nullptr,
                               .N = N,
                               .C = C,
                               .dtype = dtype},
                              nullptr);
    return target.values();
  }

  // {dweight, dbias} after `times` calls on gradients that begin at `initial`; the first call finds
  // NaN in its scratch, the others what the call before them left
  [[nodiscard]] std::vector<Values> backward_weight(bool with_bias,
                                                    float initial,
                                                    int times) const {
    const auto saved = expected_forward(/*with_bias=*/false);
    const DeviceArray x_array(dtype, x, offset);
    const DeviceArray dout_array(dtype, dout, offset);
    const DeviceArray mean(DType::kFloat32, expected_statistic(saved.mean));
    const DeviceArray rstd(DType::kFloat32, expected_statistic(saved.rstd));
    const DeviceArray dweight(DType::kFloat32, Values(static_cast<std::size_t>(C), initial));
    const DeviceArray dbias(DType::kFloat32, Values(static_cast<std::size_t>(C), initial));
    ops::LayerNormBackwardWeight args{.dweight = dweight.as<float>(),
                                      .dbias_or_null = with_bias ? dbias.as<float>() : nullptr,
                                      .dout = dout_array.get(),
                                      .x = x_array.get(),
                                      .mean = mean.as<float>(),
                                      .rstd = rstd.as<float>(),
                                      .N = N,
                                      .C = C,
                                      .scratch = nullptr,
                                      .dtype = dtype};
    // Float32 elements.
    const DeviceArray scratch(
        DType::kFloat32,
        static_cast<std::int64_t>(layer_norm_backward_weight_scratch_bytes(args)) / 4);
    args.scratch = scratch.get();
    for (int i = 0; i < times; ++i) layer_norm_backward_weight(args, nullptr);
    return {dweight.values(), dbias.values()};
  }
};

class LayerNormRows : public LayerNorm {};     // forward and backward_input
class LayerNormColumns : public LayerNorm {};  // backward_weight

TEST_P(LayerNormRows, ForwardMatchesReference) {
  const auto expected = expected_forward(/*with_bias=*/true);
  const auto actual = forward(/*with_bias=*/true, Alias::kNone);
  EXPECT_TRUE(near_reference(actual[0], expected.out, tolerance()));
  EXPECT_TRUE(near_reference(actual[1], expected.mean, kTolerance));
  EXPECT_TRUE(near_reference(actual[2], expected.rstd, kTolerance));
  EXPECT_TRUE(near_reference(forward(/*with_bias=*/false, Alias::kNone)[0],
                             expected_forward(/*with_bias=*/false).out, tolerance()));
}

TEST_P(LayerNormRows, ForwardMayOverwriteItsInputAndRepeatsItsBits) {
  const auto expected = forward(/*with_bias=*/true, Alias::kNone);
  const auto actual = forward(/*with_bias=*/true, Alias::kX);
  for (std::size_t i = 0; i < 3; ++i) EXPECT_TRUE(testing::same_bits(actual[i], expected[i]));
}

TEST_P(LayerNormRows, BackwardInputMatchesReference) {
  std::vector<double> expected = expected_backward().dx;
  // Where C is 1 the exact gradient is 0, and what is left is the rounding of dout * weight (6e-8)
  // times rstd, which is 300.
  const double allowed = C == 1 ? tolerance() + 1e-4 : tolerance();
  EXPECT_TRUE(
      near_reference(backward_input(/*with_residual=*/false, Alias::kNone), expected, allowed));
  for (std::size_t i = 0; i < expected.size(); ++i) expected[i] += residual[i];
  EXPECT_TRUE(
      near_reference(backward_input(/*with_residual=*/true, Alias::kNone), expected, allowed));
}

TEST_P(LayerNormRows, BackwardInputMayOverwriteAnyOperandAndRepeatsItsBits) {
  const Values expected = backward_input(/*with_residual=*/true, Alias::kNone);
  for (const Alias alias : {Alias::kX, Alias::kDout, Alias::kResidual}) {
    EXPECT_TRUE(testing::same_bits(backward_input(/*with_residual=*/true, alias), expected));
  }
}

TEST_P(LayerNormColumns, BackwardWeightAccumulates) {
  const auto gradients = expected_backward();
  const auto once = backward_weight(/*with_bias=*/true, 0.0F, 1);
  EXPECT_TRUE(near_reference(once[0], gradients.dweight, kTolerance));
  EXPECT_TRUE(near_reference(once[1], gradients.dbias, kTolerance));

  std::vector<double> dweight = gradients.dweight;
  for (double& value : dweight) value = 3.0 + 2.0 * value;
  const auto twice = backward_weight(/*with_bias=*/false, 3.0F, 2);
  EXPECT_TRUE(near_reference(twice[0], dweight, kTolerance));
  EXPECT_EQ(twice[1], Values(static_cast<std::size_t>(C), 3.0F));
  EXPECT_TRUE(testing::same_bits(backward_weight(/*with_bias=*/false, 3.0F, 2)[0], twice[0]));
}

const auto kBothTypes = ::testing::Values(DType::kFloat32, DType::kBFloat16);
INSTANTIATE_TEST_SUITE_P(RowsAndWidths,
                         LayerNormRows,
                         ::testing::Combine(kBothTypes,
                                            ::testing::Values(1, 3, 17),
                                            ::testing::Values(1, 5, 8, 33, 384),
                                            ::testing::Values(0)));
// One to sixteen warps per row, rows that do not fit in registers.
INSTANTIATE_TEST_SUITE_P(
    WideRows,
    LayerNormRows,
    ::testing::Combine(kBothTypes,
                       ::testing::Values(3),
                       ::testing::Values(768, 1600, 3072, 5000, 12'288, 17'000),
                       ::testing::Values(0)));
// Around what two, four and eight 16-byte accesses of each thread hold, and what one to sixteen
// warps of eight do, in float32 and in bfloat16; two blocks of rows, the second not full.
INSTANTIATE_TEST_SUITE_P(RowsThatFillTheirRegisters,
                         LayerNormRows,
                         ::testing::Combine(kBothTypes,
                                            ::testing::Values(5),
                                            ::testing::Values(256,
                                                              264,
                                                              512,
                                                              520,
                                                              1024,
                                                              1032,
                                                              2048,
                                                              2056,
                                                              4096,
                                                              4104,
                                                              8192,
                                                              8200,
                                                              16'384,
                                                              16'392,
                                                              32'768,
                                                              32'776),
                                            ::testing::Values(0)));
INSTANTIATE_TEST_SUITE_P(UnalignedRows,
                         LayerNormRows,
                         ::testing::Combine(kBothTypes,
                                            ::testing::Values(3),
                                            ::testing::Values(64, 1000),
                                            ::testing::Values(1)));

INSTANTIATE_TEST_SUITE_P(RowsAndWidths,
                         LayerNormColumns,
                         ::testing::Combine(kBothTypes,
                                            ::testing::Values(1, 3, 130),
                                            ::testing::Values(1, 5, 8, 33, 200),
                                            ::testing::Values(0, 1)));
// Around one part and several parts of the rows, of 128 where rows are aligned, else of 32.
INSTANTIATE_TEST_SUITE_P(PartsOfRows,
                         LayerNormColumns,
                         ::testing::Combine(kBothTypes,
                                            ::testing::Values(32, 33, 127, 128, 129, 1100),
                                            ::testing::Values(24, 25),
                                            ::testing::Values(0)));
// Around whole pieces of a row, of 32 or 64 columns where rows are aligned, else of 32.
INSTANTIATE_TEST_SUITE_P(PiecesOfRows,
                         LayerNormColumns,
                         ::testing::Combine(kBothTypes,
                                            ::testing::Values(140),
                                            ::testing::Values(31, 32, 56, 63, 64, 65, 72, 128),
                                            ::testing::Values(0, 1)));

// The mean is far from zero compared with the spread: x - mean is exact but for the rounding of the
// mean to float32 (100 * 6e-8 against a spread of 0.1), and the variance must not cancel.
TEST(LayerNormForward, KeepsItsDigitsFarFromZero) {
  constexpr std::int64_t kN = 5;
  for (const std::int64_t C : {384, 385}) {
    const Values x = random_values("offset", kN * C, /*deviation=*/0.1, /*mean=*/100.0);
    const Values ones(static_cast<std::size_t>(C), 1.0F);
    const auto expected = reference::layer_norm(to_float64(x), to_float64(ones), {}, kN, C, 1e-5);
    const DeviceArray x_array(DType::kFloat32, x);
    const DeviceArray weight(DType::kFloat32, ones);
    const DeviceArray mean(DType::kFloat32, kN);
    const DeviceArray rstd(DType::kFloat32, kN);
    layer_norm_forward({x_array.get(), mean.as<float>(), rstd.as<float>(), x_array.get(),
                        weight.get(), nullptr, kN, C, 1e-5F},
                       nullptr);
    EXPECT_TRUE(near_reference(x_array.values(), expected.out, 1e-4));
    EXPECT_TRUE(near_reference(rstd.values(), expected.rstd, 1e-6));
  }
}

TEST(LayerNormForward, NanAndInfinityFillTheirRowAlone) {
  constexpr std::int64_t kN = 3;
  constexpr std::int64_t kC = 40;
  Values values(kN * kC, 1.0F);
  values[5] = std::nanf("");
  values[2 * kC + 5] = INFINITY;
  const DeviceArray x(DType::kBFloat16, values);
  const DeviceArray weight(DType::kBFloat16, Values(kC, 1.0F));
  const DeviceArray mean(DType::kFloat32, kN);
  const DeviceArray rstd(DType::kFloat32, kN);
  layer_norm_forward({x.get(), mean.as<float>(), rstd.as<float>(), x.get(), weight.get(), nullptr,
                      kN, kC, 1e-5F, DType::kBFloat16},
                     nullptr);
  const Values out = x.values();
  for (std::int64_t i = 0; i < kN * kC; ++i) {
    EXPECT_EQ(std::isnan(out[static_cast<std::size_t>(i)]), i / kC != 1) << i;
  }
}

TEST(LayerNormForward, EmptyInputIsNoWork) {
  layer_norm_forward({nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, 0, 8, 1e-5F}, nullptr);
  layer_norm_backward_input({nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, 0, 8},
                            nullptr);
  const ops::LayerNormBackwardWeight empty{nullptr, nullptr, nullptr, nullptr, nullptr,
                                           nullptr, 0,       8,       nullptr};
  EXPECT_EQ(layer_norm_backward_weight_scratch_bytes(empty), 0U);
  layer_norm_backward_weight(empty, nullptr);
}

}  // namespace
}  // namespace halfpipe::cuda
