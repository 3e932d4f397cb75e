// SPDX-License-Identifier: Apache-2.0
// Sums with a fixed order on the GPU against float64 references.
#include "kernels/cuda/reduction.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <tuple>
#include <vector>

#include "tests/kernels/compare.h"
#include "tests/kernels/cuda/device_array.h"
#include "tests/kernels/random_values.h"
#include "tests/kernels/reference.h"

namespace halfpipe::cuda {
namespace {

using testing::DeviceArray;
using testing::near_reference;
using testing::random_values;
using testing::rounded;
using testing::to_float64;
using Values = std::vector<float>;

double sum_of_squares_of(const Values& x, std::size_t offset = 0) {
  const auto count = static_cast<std::int64_t>(x.size());
  const DeviceArray x_array(DType::kFloat32, x, offset);
  // Float32 elements here, two for a float64.
  const DeviceArray scratch(DType::kFloat32,
                            static_cast<std::int64_t>(sum_of_squares_scratch_bytes(count)) / 4);
  double out = std::nan("");
  sum_of_squares({&out, x_array.as<float>(), count, scratch.get()}, nullptr);
  testing::require_success(cudaStreamSynchronize(nullptr));
  return out;
}

class SumOfSquares : public ::testing::TestWithParam<std::int64_t> {};

TEST_P(SumOfSquares, MatchesReferenceWithTheSameBitsWhereverItBegins) {
  const Values x = random_values("x", GetParam());
  const double actual = sum_of_squares_of(x);
  // float64 throughout: squares of float32 are exact, the sums round at 1e-16 each.
  const double expected = reference::sum_of_squares(to_float64(x));
  EXPECT_NEAR(actual, expected, 1e-13 * expected);
  EXPECT_EQ(sum_of_squares_of(x), actual);
  EXPECT_EQ(sum_of_squares_of(x, /*offset=*/1), actual);
}

// Around one block (16,384).
INSTANTIATE_TEST_SUITE_P(Counts,
                         SumOfSquares,
                         ::testing::Values(0, 1, 3, 17, 4096, 16383, 16384, 16385, 130'000));

TEST(SumOfSquaresRange, HoldsWhatFloat32CannotHold) {
  EXPECT_NEAR(sum_of_squares_of({1e30F, 1e-30F, 1e30F}), 2e60, 1e53);
}

TEST(SumOfSquaresRange, NanAndInfinityAreSeen) {
  Values x(20'000, 1.0F);
  x[17'000] = std::numeric_limits<float>::infinity();
  EXPECT_EQ(sum_of_squares_of(x), std::numeric_limits<double>::infinity());
  x[3] = std::nanf("");
  EXPECT_TRUE(std::isnan(sum_of_squares_of(x)));
}

// Count, elements past a 16-byte boundary at which the arrays begin.
class ElementWise : public ::testing::TestWithParam<std::tuple<std::int64_t, std::size_t>> {};

TEST_P(ElementWise, AccumulateAdds) {
  const auto [count, offset] = GetParam();
  const Values dst = random_values("dst", count);
  const Values src = random_values("src", count);
  const DeviceArray dst_array(DType::kFloat32, dst, offset);
  const DeviceArray src_array(DType::kFloat32, src, offset);
  accumulate({dst_array.as<float>(), src_array.as<float>(), count}, nullptr);
  Values expected = dst;
  for (std::size_t i = 0; i < src.size(); ++i) expected[i] += src[i];
  EXPECT_TRUE(testing::same_bits(dst_array.values(), expected));
}

TEST_P(ElementWise, RoundToBFloat16RoundsAsTheHost) {
  const auto [count, offset] = GetParam();
  const Values src = random_values("src", count);
  const DeviceArray dst_array(DType::kBFloat16, count, offset);
  const DeviceArray src_array(DType::kFloat32, src, offset);
  round_to_bfloat16({dst_array.as<BFloat16>(), src_array.as<float>(), count}, nullptr);
  EXPECT_TRUE(testing::same_bits(dst_array.values(), rounded(DType::kBFloat16, src)));
}

INSTANTIATE_TEST_SUITE_P(Counts,
                         ElementWise,
                         ::testing::Combine(::testing::Values(0, 1, 17, 4096, 30'003),
                                            ::testing::Values(0, 1)));

TEST(RoundToBFloat16, KeepsInfinitiesNanAndTiesToEven) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const Values src{0.0F,
                   -0.0F,
                   kInfinity,
                   -kInfinity,
                   std::numeric_limits<float>::max(),  // rounds to infinity
                   std::numeric_limits<float>::denorm_min(),
                   1.0F + 1.0F / 256.0F,   // between 1 and 1 + 2^-7: to 1
                   1.0F + 3.0F / 256.0F};  // between 1 + 2^-7 and 1 + 2^-6: to the latter
  const auto count = static_cast<std::int64_t>(src.size());
  const DeviceArray src_array(DType::kFloat32, src);
  const DeviceArray dst(DType::kBFloat16, count);
  round_to_bfloat16({dst.as<BFloat16>(), src_array.as<float>(), count}, nullptr);
  EXPECT_TRUE(testing::same_bits(dst.values(), rounded(DType::kBFloat16, src)));

  const DeviceArray nans(DType::kFloat32, count);
  round_to_bfloat16({dst.as<BFloat16>(), nans.as<float>(), count}, nullptr);
  for (const float value : dst.values()) EXPECT_TRUE(std::isnan(value));
}

// Element type, N, C, elements past a 16-byte boundary at which the arrays begin.
class ColumnSum
    : public ::testing::TestWithParam<std::tuple<DType, std::int64_t, std::int64_t, std::size_t>> {
 protected:
  [[nodiscard]] static Values run(const Values& dst, const Values& x) {
    const auto [dtype, N, C, offset] = GetParam();
    const DeviceArray dst_array(DType::kFloat32, dst, offset);
    const DeviceArray x_array(dtype, x, offset);
    column_sum({dst_array.as<float>(), x_array.get(), N, C, dtype}, nullptr);
    return dst_array.values();
  }
};

TEST_P(ColumnSum, Accumulates) {
  const auto [dtype, N, C, offset] = GetParam();
  const Values x = rounded(dtype, random_values("x", N * C, 1.0, /*mean=*/0.5));
  const Values dst = random_values("dst", C);
  const Values actual = run(dst, x);
  std::vector<double> expected = reference::column_sum(to_float64(x), C);
  for (std::size_t c = 0; c < dst.size(); ++c) expected[c] += dst[c];
  // Up to 32 float32 additions (6e-8 each, random signs) into one partial sum, a dozen of partial
  // sums.
  EXPECT_TRUE(near_reference(actual, expected, 5e-7));
  EXPECT_TRUE(testing::same_bits(run(dst, x), actual));
}

INSTANTIATE_TEST_SUITE_P(RowsAndWidths,
                         ColumnSum,
                         ::testing::Combine(::testing::Values(DType::kFloat32, DType::kBFloat16),
                                            ::testing::Values(1, 3, 130, 1100),
                                            ::testing::Values(1, 5, 16, 33, 200),
                                            ::testing::Values(0)));
// More rows than one partial sum of every thread takes, and rows that begin anywhere.
INSTANTIATE_TEST_SUITE_P(LongColumns,
                         ColumnSum,
                         ::testing::Combine(::testing::Values(DType::kFloat32, DType::kBFloat16),
                                            ::testing::Values(9000),
                                            ::testing::Values(8, 9),
                                            ::testing::Values(0, 1)));

// 100,000 additions into one float32 would be off by 2e-5 here.
TEST(ColumnSumOrder, LongColumnsKeepTheirDigits) {
  constexpr std::int64_t kN = 100'000;
  const DeviceArray x(DType::kFloat32, Values(kN, 0.1F));
  const DeviceArray dst(DType::kFloat32, Values{0.0F});
  column_sum({dst.as<float>(), x.get(), kN, 1, DType::kFloat32}, nullptr);
  // 31 roundings of 6e-8 at most, each relative to a part of its partial sum, and 49 of totals.
  EXPECT_NEAR(dst.values()[0] / (double{0.1F} * kN), 1.0, 2e-6);
}

TEST(ColumnSumOrder, NanStaysInItsColumn) {
  Values x(40 * 24, 1.0F);
  x[24 * 7 + 5] = std::nanf("");
  const DeviceArray x_array(DType::kBFloat16, x);
  const DeviceArray dst(DType::kFloat32, Values(24, 0.0F));
  column_sum({dst.as<float>(), x_array.get(), 40, 24, DType::kBFloat16}, nullptr);
  const Values sums = dst.values();
  for (std::size_t c = 0; c < sums.size(); ++c) EXPECT_EQ(std::isnan(sums[c]), c == 5);
}

}  // namespace
}  // namespace halfpipe::cuda
