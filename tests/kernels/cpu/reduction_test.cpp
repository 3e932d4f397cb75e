// SPDX-License-Identifier: Apache-2.0
// Sums with a fixed order on the CPU against float64 references.
#include "kernels/cpu/reduction.h"

#include <gtest/gtest.h>

#include <numeric>
#include <tuple>
#include <vector>

#include "tests/kernels/compare.h"
#include "tests/kernels/cpu/thread_counts.h"
#include "tests/kernels/element_values.h"
#include "tests/kernels/guarded_buffer.h"
#include "tests/kernels/random_values.h"
#include "tests/kernels/reference.h"

namespace halfpipe::cpu {
namespace {

using testing::GuardedBuffer;
using testing::near_reference;
using testing::random_values;
using testing::to_float64;
using Results = std::vector<std::vector<float>>;

class SumOfSquares : public ::testing::TestWithParam<std::int64_t> {};

TEST_P(SumOfSquares, MatchesReference) {
  const std::int64_t count = GetParam();
  const auto x = random_values("x", count);
  const auto result = testing::run_with_any_threads([&](ThreadPool& pool) {
    const GuardedBuffer<float> x_buffer(x);
    const GuardedBuffer<double> out(num_square_blocks(count));
    sum_of_squares({out.get(), x_buffer.get(), count}, pool);
    return std::vector<std::vector<double>>{out.values()};
  });
  // float64 throughout: squares of float32 are exact, the sums round at 1e-16 each.
  const double expected = reference::sum_of_squares(to_float64(x));
  EXPECT_NEAR(std::accumulate(result[0].begin(), result[0].end(), 0.0), expected, 1e-13 * expected);
}

// Around one block (4096) and eight of them, which take another path.
INSTANTIATE_TEST_SUITE_P(
    Counts,
    SumOfSquares,
    ::testing::Values(0, 1, 3, 17, 4095, 4096, 4097, 32767, 32768, 32769, 130'000));

TEST(SumOfSquaresOfPieces, AreThoseOfTheWhole) {
  constexpr std::int64_t kCount = 8 * ops::kSquaresCut + 5000;  // both ways to add up a block
  const auto x = random_values("x", kCount);
  ThreadPool pool(2);
  std::vector<double> whole(static_cast<std::size_t>(num_square_blocks(kCount)));
  sum_of_squares({whole.data(), x.data(), kCount}, pool);
  for (const std::int64_t cut : {ops::kSquaresCut, 3 * ops::kSquaresCut, 8 * ops::kSquaresCut}) {
    std::vector<double> pieces(whole.size());
    double* const rest = pieces.data() + num_square_blocks(cut);
    sum_of_squares({pieces.data(), x.data(), cut}, pool);
    sum_of_squares({rest, x.data() + cut, kCount - cut}, pool);
    EXPECT_EQ(num_square_blocks(cut) + num_square_blocks(kCount - cut), std::ssize(whole));
    EXPECT_EQ(pieces, whole) << cut;
  }
}

TEST(SumOfSquaresRange, HoldsWhatFloat32CannotHold) {
  const std::vector<float> x{1e30F, 1e-30F, 1e30F};
  double out = 0.0;
  ThreadPool pool(1);
  sum_of_squares({&out, x.data(), 3}, pool);
  EXPECT_NEAR(out, 2e60, 1e53);
}

class Accumulate : public ::testing::TestWithParam<std::int64_t> {};

TEST_P(Accumulate, AddsElementByElement) {
  const std::int64_t count = GetParam();
  const auto dst = random_values("dst", count);
  const auto src = random_values("src", count);
  const Results actual = testing::run_with_any_threads([&](ThreadPool& pool) {
    const GuardedBuffer<float> dst_buffer(dst);
    const GuardedBuffer<float> src_buffer(src);
    accumulate({dst_buffer.get(), src_buffer.get(), count}, pool);
    return Results{dst_buffer.values()};
  });
  std::vector<float> expected = dst;
  for (std::size_t i = 0; i < src.size(); ++i) expected[i] += src[i];
  EXPECT_TRUE(testing::same_bits(actual[0], expected));
}

INSTANTIATE_TEST_SUITE_P(Counts, Accumulate, ::testing::Values(0, 1, 17, 16384, 130'000));

class ColumnSum : public ::testing::TestWithParam<std::tuple<DType, std::int64_t, std::int64_t>> {};

TEST_P(ColumnSum, Accumulates) {
  const auto [dtype, N, C] = GetParam();
  const auto x = testing::representable(random_values("x", N * C, 1.0, /*mean=*/0.5), dtype);
  const auto dst = random_values("dst", C);
  const Results actual = testing::run_with_any_threads([&, dtype = dtype, N = N,
                                                        C = C](ThreadPool& pool) {
    const GuardedBuffer<float> dst_buffer(dst);
    testing::with_elements(dtype, [&](auto element) {
      const GuardedBuffer<decltype(element)> x_buffer(testing::to_elements<decltype(element)>(x));
      column_sum({dst_buffer.get(), x_buffer.get(), N, C, nullptr, dtype}, pool);
    });
    return Results{dst_buffer.values()};
  });
  std::vector<double> expected = reference::column_sum(to_float64(x), C);
  for (std::size_t c = 0; c < dst.size(); ++c) expected[c] += dst[c];
  // Up to 32 float32 additions (6e-8 each, random signs) into one partial sum. Sums are float32
  // whatever the type of x.
  EXPECT_TRUE(near_reference(actual[0], expected, 5e-7));
}

INSTANTIATE_TEST_SUITE_P(TypesRowsAndWidths,
                         ColumnSum,
                         ::testing::Combine(::testing::Values(DType::kFloat32, DType::kBFloat16),
                                            ::testing::Values(1, 3, 17, 130, 1000),
                                            ::testing::Values(1, 5, 16, 33, 384, 1000)));

// 100,000 additions into one float32 would be off by 2e-5 here.
TEST(ColumnSumOrder, LongColumnsKeepTheirDigits) {
  constexpr std::int64_t kN = 100'000;
  const std::vector<float> x(kN, 0.1F);
  std::vector<float> dst{0.0F};
  ThreadPool pool(1);
  column_sum({dst.data(), x.data(), kN, 1, nullptr}, pool);
  // 31 roundings of 6e-8 at most, each relative to a part of its partial sum.
  EXPECT_NEAR(dst[0] / (double{0.1F} * kN), 1.0, 1e-6);
}

class RoundToBFloat16 : public ::testing::TestWithParam<std::int64_t> {};

TEST_P(RoundToBFloat16, RoundsElementByElement) {
  const auto src = random_values("src", GetParam());
  for (const int num_threads : {1, 2, 3}) {
    ThreadPool pool(num_threads);
    const GuardedBuffer<float> src_buffer(src);
    const GuardedBuffer<BFloat16> dst(GetParam());
    round_to_bfloat16({dst.get(), src_buffer.get(), GetParam()}, pool);
    EXPECT_EQ(dst.values(), testing::to_elements<BFloat16>(src));
  }
}

INSTANTIATE_TEST_SUITE_P(Counts,
                         RoundToBFloat16,
                         ::testing::Values(0, 1, 17, 16384, 16385, 130'000));

}  // namespace
}  // namespace halfpipe::cpu
