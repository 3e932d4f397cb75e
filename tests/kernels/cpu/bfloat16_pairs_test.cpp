// SPDX-License-Identifier: Apache-2.0
// Products of bfloat16 pairs, and how their operands are rounded and interleaved.
#include "kernels/cpu/bfloat16_pairs.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <tuple>
#include <vector>

#include "tests/kernels/compare.h"
#include "tests/kernels/element_values.h"
#include "tests/kernels/guarded_buffer.h"
#include "tests/kernels/matmul_reference.h"
#include "tests/kernels/random_values.h"

namespace halfpipe::cpu {
namespace {

using testing::GuardedBuffer;
using testing::random_values;
using testing::representable;
using testing::to_elements;

/// b with the pairs of all columns side by side.
std::vector<BFloat16> pairs_of(const std::vector<float>& b, std::int64_t N, std::int64_t K) {
  const GuardedBuffer<BFloat16> rows(to_elements<BFloat16>(b));
  const GuardedBuffer<BFloat16> pairs((K + 1) / 2 * 2 * N);
  interleave_rows(rows.get(), N, K, N, pairs.get(), 2 * N);
  return pairs.values();
}

class PairProductOf : public ::testing::TestWithParam<std::tuple<int, int, int>> {};

// Once with rows of a as they are, once with rows of a transposed, in pairs like b.
TEST_P(PairProductOf, MatchesReference) {
  const auto [M, N, K] = GetParam();
  const std::vector<float> a =
      representable(random_values("a", std::int64_t{M} * K), DType::kBFloat16);
  const std::vector<float> b =
      representable(random_values("b", std::int64_t{K} * N), DType::kBFloat16);
  const GuardedBuffer<BFloat16> b_pairs(pairs_of(b, N, K));
  for (const bool transpose_a : {false, true}) {
    if (!transpose_a && K % 2 != 0) continue;
    const GuardedBuffer<BFloat16> a_buffer(transpose_a ? pairs_of(a, M, K)
                                                       : to_elements<BFloat16>(a));
    const GuardedBuffer<float> c(std::int64_t{M} * N);
    PairProduct product{.c = c.get(),
                        .c_stride = N,
                        .a = a_buffer.get(),
                        .a_row_stride = transpose_a ? 2 : K,
                        .a_pair_stride = transpose_a ? 2 * M : 2,
                        .b = b_pairs.get(),
                        .b_pair_stride = 2 * N,
                        .M = M,
                        .N = N,
                        .num_pairs = (K + 1) / 2,
                        .accumulate = false};
    pair_product(product);
    std::vector<double> expected =
        reference::matmul({M, N, K, transpose_a, /*transpose_b=*/false}, a, b);
    constexpr double kTolerance = 5e-7;  // sums of up to 70 terms of random sign
    EXPECT_TRUE(testing::near_reference(c.values(), expected, kTolerance));
    product.accumulate = true;
    pair_product(product);
    for (double& value : expected) value *= 2.0;
    EXPECT_TRUE(testing::near_reference(c.values(), expected, kTolerance));
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes,
                         PairProductOf,
                         ::testing::Combine(::testing::Values(1, 7, 8, 29),
                                            ::testing::Values(16, 32, 80),
                                            ::testing::Values(1, 2, 9, 70)));

TEST(Interleaved, RowsArePairedAndTheLastOneWithZeros) {
  for (const std::int64_t width : {1, 15, 16, 37}) {
    for (const std::int64_t num_rows : {1, 2, 5}) {
      const std::int64_t row_stride = width + 3;
      std::vector<BFloat16> rows(static_cast<std::size_t>(num_rows * row_stride));
      for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = {static_cast<std::uint16_t>(i + 1)};
      const std::int64_t num_pairs = (num_rows + 1) / 2;
      const GuardedBuffer<BFloat16> pairs(num_pairs * 2 * width);
      interleave_rows(rows.data(), row_stride, num_rows, width, pairs.get(), 2 * width);
      std::vector<BFloat16> expected(static_cast<std::size_t>(num_pairs * 2 * width));
      for (std::int64_t row = 0; row < num_rows; ++row) {
        for (std::int64_t i = 0; i < width; ++i) {
          expected[static_cast<std::size_t>((row / 2 * width + i) * 2 + row % 2)] =
              rows[static_cast<std::size_t>(row * row_stride + i)];
        }
      }
      EXPECT_EQ(pairs.values(), expected) << num_rows << " x " << width;
    }
  }
}

TEST(RoundLanes, RoundsNormalNumbersAsToBFloat16) {
  std::vector<float> values;
  for (const float base : {1.0F, -3.1415927F, 1.5e-30F, 2.75e30F, 0.0F, -0.0F}) {
    for (int step = 0; step < 10; ++step) {  // across several bfloat16, ties among them
      values.push_back(base * (1.0F + static_cast<float>(step) / 512.0F));
    }
  }
  values.push_back(std::numeric_limits<float>::infinity());
  values.push_back(std::numeric_limits<float>::max());
  values.resize(64, 1.0F / 3.0F);
  const GuardedBuffer<float> from(values);
  const GuardedBuffer<BFloat16> to(64);
  round_lanes(from.get(), 64, to.get());
  EXPECT_EQ(to.values(), to_elements<BFloat16>(values));
}

TEST(RoundLanes, KeepsNaN) {
  const std::vector<float> values(32, std::numeric_limits<float>::quiet_NaN());
  std::vector<BFloat16> rounded(32);
  round_lanes(values.data(), 32, rounded.data());
  for (const BFloat16 value : rounded) EXPECT_TRUE(std::isnan(to_float(value)));
}

}  // namespace
}  // namespace halfpipe::cpu
