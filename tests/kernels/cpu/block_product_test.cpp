// SPDX-License-Identifier: Apache-2.0
// Small products with any strides of a.
#include "kernels/cpu/block_product.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <tuple>
#include <vector>

#include "tests/kernels/compare.h"
#include "tests/kernels/guarded_buffer.h"
#include "tests/kernels/matmul_reference.h"
#include "tests/kernels/random_values.h"

namespace halfpipe::cpu {
namespace {

using testing::GuardedBuffer;
using testing::random_values;

class BlockProductOf : public ::testing::TestWithParam<std::tuple<int, int, int, bool>> {};

TEST_P(BlockProductOf, MatchesReference) {
  const auto [M, N, K, transpose_a] = GetParam();
  const std::vector<float> a = random_values("a", std::int64_t{M} * K);
  const std::vector<float> b = random_values("b", std::int64_t{K} * N);
  const GuardedBuffer<float> a_buffer(a);
  const GuardedBuffer<float> b_buffer(b);
  const GuardedBuffer<float> c(std::int64_t{M} * N);
  BlockProduct product{.c = c.get(),
                       .c_stride = N,
                       .a = a_buffer.get(),
                       .a_row_stride = transpose_a ? 1 : K,
                       .a_k_stride = transpose_a ? M : 1,
                       .b = b_buffer.get(),
                       .b_stride = N,
                       .M = M,
                       .N = N,
                       .K = K,
                       .accumulate = false};
  block_product(product);
  std::vector<double> expected =
      reference::matmul({M, N, K, transpose_a, /*transpose_b=*/false}, a, b);
  constexpr double kTolerance = 5e-7;  // sums of up to 70 terms of random sign
  EXPECT_TRUE(testing::near_reference(c.values(), expected, kTolerance));
  product.accumulate = true;
  block_product(product);
  for (double& value : expected) value *= 2.0;
  EXPECT_TRUE(testing::near_reference(c.values(), expected, kTolerance));
}

INSTANTIATE_TEST_SUITE_P(Shapes,
                         BlockProductOf,
                         ::testing::Combine(::testing::Values(1, 7, 8, 29),
                                            ::testing::Values(16, 32, 80),
                                            ::testing::Values(1, 8, 70),
                                            ::testing::Bool()));

// Rows at the edge take another path; it must not show.
TEST(BlockProduct, GivesARowTheSameBitsAmongAnyOthers) {
  constexpr std::int64_t kRows = 13;
  constexpr std::int64_t kK = 50;
  const std::vector<float> a = random_values("a", kRows * kK);
  const std::vector<float> b = random_values("b", kK * kLanes);
  std::vector<float> together(kRows * kLanes);
  std::vector<float> apart(kRows * kLanes);
  block_product({together.data(), kLanes, a.data(), kK, 1, b.data(), kLanes, kRows, kLanes, kK,
                 /*accumulate=*/false});
  for (std::int64_t m = 0; m < kRows; ++m) {
    block_product({apart.data() + m * kLanes, kLanes, a.data() + m * kK, kK, 1, b.data(), kLanes, 1,
                   kLanes, kK, /*accumulate=*/false});
  }
  EXPECT_TRUE(testing::same_bits(together, apart));
}

}  // namespace
}  // namespace halfpipe::cpu
