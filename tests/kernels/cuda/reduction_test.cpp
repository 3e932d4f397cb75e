// SPDX-License-Identifier: Apache-2.0
// Sums with a fixed order on the GPU against float64 references.
#include "kernels/cuda/reduction.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <numeric>
#include <tuple>
#include <vector>

#include "kernels/core/align.h"
#include "kernels/cuda/row_split.h"
#include "tests/kernels/compare.h"
#include "tests/kernels/cuda/device_array.h"
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

/// One for each block.
std::vector<double> sums_of_squares_of(const Values& x, std::size_t offset = 0) {
  const auto count = static_cast<std::int64_t>(x.size());
  const DeviceArray x_array(DType::kFloat32, x, offset);
  std::vector<double> sums(static_cast<std::size_t>(num_square_blocks(count)));
  // Float32 elements here, two for a float64.
  const DeviceArray out(DType::kFloat32, 2 * num_square_blocks(count));
  sum_of_squares({out.as<double>(), x_array.as<float>(), count}, nullptr);
  testing::require_success(
      cudaMemcpy(sums.data(), out.get(), sums.size() * sizeof(double), cudaMemcpyDeviceToHost));
  return sums;
}

double sum_of_squares_of(const Values& x, std::size_t offset = 0) {
  const std::vector<double> sums = sums_of_squares_of(x, offset);
  return std::accumulate(sums.begin(), sums.end(), 0.0);
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

TEST(SumOfSquaresOfPieces, AreThoseOfTheWhole) {
  const Values x = random_values("x", 3 * ops::kSquaresCut + 5000);
  const Values front(x.begin(), x.begin() + 2 * ops::kSquaresCut);
  const Values back(x.begin() + 2 * ops::kSquaresCut, x.end());
  std::vector<double> pieces = sums_of_squares_of(front);
  std::ranges::copy(sums_of_squares_of(back), std::back_inserter(pieces));
  EXPECT_EQ(pieces, sums_of_squares_of(x));
}

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
  EXPECT_TRUE(testing::same_bits(dst_array.values(), representable(src, DType::kBFloat16)));
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
  EXPECT_TRUE(testing::same_bits(dst.values(), representable(src, DType::kBFloat16)));

  const DeviceArray nans(DType::kFloat32, count);
  round_to_bfloat16({dst.as<BFloat16>(), nans.as<float>(), count}, nullptr);
  for (const float value : dst.values()) EXPECT_TRUE(std::isnan(value));
}

// Adds the column sums of x, [N, C], to dst; scratch holds NaN before.
void add_column_sums(float* dst, const void* x, std::int64_t N, std::int64_t C, DType dtype) {
  ops::ColumnSum args{dst, x, N, C, nullptr, dtype};
  const DeviceArray scratch(DType::kFloat32,  // 4 bytes each
                            static_cast<std::int64_t>(column_sum_scratch_bytes(args)) / 4);
  args.scratch = scratch.get();
  column_sum(args, nullptr);
  testing::require_success(cudaStreamSynchronize(nullptr));
}

// Element type, N, C, elements past a 16-byte boundary at which the arrays begin.
class ColumnSum
    : public ::testing::TestWithParam<std::tuple<DType, std::int64_t, std::int64_t, std::size_t>> {
 protected:
  [[nodiscard]] static Values run(const Values& dst, const Values& x) {
    const auto [dtype, N, C, offset] = GetParam();
    const DeviceArray dst_array(DType::kFloat32, dst, offset);
    const DeviceArray x_array(dtype, x, offset);
    add_column_sums(dst_array.as<float>(), x_array.get(), N, C, dtype);
    return dst_array.values();
  }
};

TEST_P(ColumnSum, Accumulates) {
  const auto [dtype, N, C, offset] = GetParam();
  const Values x = representable(random_values("x", N * C, 1.0, /*mean=*/0.5), dtype);
  const Values dst = random_values("dst", C);
  const Values actual = run(dst, x);
  std::vector<double> expected = reference::column_sum(to_float64(x), C);
  for (std::size_t c = 0; c < dst.size(); ++c) expected[c] += dst[c];
  // Up to 32 float32 additions (6e-8 each, random signs) in a thread, at most nine of threads and
  // warps; float64 from there on.
  EXPECT_TRUE(near_reference(actual, expected, 5e-7));
  EXPECT_TRUE(testing::same_bits(run(dst, x), actual));
}

INSTANTIATE_TEST_SUITE_P(RowsAndWidths,
                         ColumnSum,
                         ::testing::Combine(::testing::Values(DType::kFloat32, DType::kBFloat16),
                                            ::testing::Values(1, 3, 130, 1100),
                                            ::testing::Values(1, 5, 16, 33, 200),
                                            ::testing::Values(0)));
// Around one part and several parts of the rows (of 128 where rows are aligned, else of 32), around
// a whole piece of a row (of 32 or 64 columns where rows are aligned, else of 32).
INSTANTIATE_TEST_SUITE_P(PartsOfRows,
                         ColumnSum,
                         ::testing::Combine(::testing::Values(DType::kFloat32, DType::kBFloat16),
                                            ::testing::Values(31, 32, 33, 127, 128, 129, 257),
                                            ::testing::Values(8, 9, 32),
                                            ::testing::Values(0, 1)));
INSTANTIATE_TEST_SUITE_P(PiecesOfRows,
                         ColumnSum,
                         ::testing::Combine(::testing::Values(DType::kFloat32, DType::kBFloat16),
                                            ::testing::Values(140),
                                            ::testing::Values(31, 56, 63, 64, 65, 72, 128),
                                            ::testing::Values(0, 1)));
// So many pieces of a row that a part has more rows than the smallest: up to 32 for a thread where
// rows are not aligned, 8 and 16 where they are.
INSTANTIATE_TEST_SUITE_P(LargeParts,
                         ColumnSum,
                         ::testing::Values(std::tuple{DType::kFloat32, 257, 16'385, 0},
                                           std::tuple{DType::kFloat32, 511, 16'384, 0},
                                           std::tuple{DType::kFloat32, 513, 16'384, 0},
                                           std::tuple{DType::kBFloat16, 257, 32'776, 0}));
// Many parts, and rows that begin anywhere.
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
  add_column_sums(dst.as<float>(), x.get(), kN, 1, DType::kFloat32);
  // 40 roundings of 6e-8 at most, each relative to a part of its partial sum.
  EXPECT_NEAR(dst.values()[0] / (double{0.1F} * kN), 1.0, 1e-6);
}

TEST(ColumnSumOrder, NanStaysInItsColumn) {
  Values x(40 * 24, 1.0F);
  x[24 * 7 + 5] = std::nanf("");
  const DeviceArray x_array(DType::kBFloat16, x);
  const DeviceArray dst(DType::kFloat32, Values(24, 0.0F));
  add_column_sums(dst.as<float>(), x_array.get(), 40, 24, DType::kBFloat16);
  const Values sums = dst.values();
  for (std::size_t c = 0; c < sums.size(); ++c) EXPECT_EQ(std::isnan(sums[c]), c == 5);
}

// An infinity in the last row, which is a part of its own.
TEST(ColumnSumOrder, TheLastPartCounts) {
  Values x(129 * 8, 1.0F);
  x[128 * 8 + 3] = std::numeric_limits<float>::infinity();
  const DeviceArray x_array(DType::kFloat32, x);
  const DeviceArray dst(DType::kFloat32, Values(8, 1.0F));
  add_column_sums(dst.as<float>(), x_array.get(), 129, 8, DType::kFloat32);
  Values expected(8, 130.0F);
  expected[3] = std::numeric_limits<float>::infinity();
  EXPECT_EQ(dst.values(), expected);
}

// Guards do not show a sum of nothing added behind the result: they hold NaN. -0 + 0 is 0.
TEST(ColumnSumOrder, LeavesWhatLiesBehindTheResult) {
  const DeviceArray x(DType::kFloat32, Values(40 * 8, 1.0F));
  Values expected(40, -0.0F);
  const DeviceArray dst(DType::kFloat32, expected);
  add_column_sums(dst.as<float>(), x.get(), 40, 8, DType::kFloat32);
  for (std::size_t c = 0; c < 8; ++c) expected[c] = 40.0F;
  EXPECT_TRUE(testing::same_bits(dst.values(), expected));
}

TEST(ColumnSumOrder, EmptyInputIsNoWork) {
  const ops::ColumnSum no_rows{nullptr, nullptr, 0, 8, nullptr};
  const ops::ColumnSum no_columns{nullptr, nullptr, 8, 0, nullptr};
  for (const ops::ColumnSum& empty : {no_rows, no_columns}) {
    EXPECT_EQ(column_sum_scratch_bytes(empty), 0U);
    column_sum(empty, nullptr);
  }
}

TEST(RowSplit, CoversAllRowsWithWholeLoadsInEnoughBlocks) {
  for (const std::int64_t row_lanes : {8, 32}) {
    for (const std::int64_t num_pieces : {1, 12, 25, 100, 512, 2000}) {
      for (const std::int64_t N : {1, 31, 128, 129, 1024, 8192, 65'536, 100'000}) {
        const RowSplit split = split_rows(N, num_pieces, row_lanes);
        const std::int64_t rows_of_thread = split.rows_of_part / row_lanes;
        EXPECT_EQ(split.rows_of_part % (row_lanes * kRowsTogether), 0);
        EXPECT_LE(rows_of_thread, kMostRowsOfThread);
        EXPECT_GE(split.num_parts * split.rows_of_part, N);
        EXPECT_LT((split.num_parts - 1) * split.rows_of_part, N);
        // Enough blocks, or none that could be divided; not twice as many without need.
        const std::int64_t num_blocks = num_pieces * split.num_parts;
        EXPECT_TRUE(num_blocks >= kEnoughBlocks || rows_of_thread == kRowsTogether);
        EXPECT_TRUE(num_pieces * ceil_div(N, 2 * split.rows_of_part) < kEnoughBlocks ||
                    rows_of_thread == kMostRowsOfThread);
      }
    }
  }
}

TEST(RowSplit, OfTheModelsShapesIsKnown) {
  // [8192, 1600], [8192, 6400] in bfloat16, [65536, 8192] in bfloat16
  EXPECT_EQ(split_rows(8192, 25, 32).num_parts, 64);
  EXPECT_EQ(split_rows(8192, 100, 32).num_parts, 16);
  EXPECT_EQ(split_rows(65'536, 128, 32).num_parts, 64);
}

}  // namespace
}  // namespace halfpipe::cuda
