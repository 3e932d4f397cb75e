// SPDX-License-Identifier: Apache-2.0
// Large products of pairs go other ways through memory than small ones: rows of a are read where
// they lie, pieces are as wide as c, c is written past the caches. None of that changes a bit.
#include "kernels/cpu/matmul_pairs.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "kernels/core/bfloat16.h"
#include "kernels/cpu/thread_pool.h"
#include "tests/kernels/compare.h"
#include "tests/kernels/cpu/matmul_ways.h"
#include "tests/kernels/element_values.h"
#include "tests/kernels/guarded_buffer.h"
#include "tests/kernels/random_values.h"

namespace halfpipe::cpu {
namespace {

using testing::GuardedBuffer;
using testing::random_values;
using testing::to_elements;

constexpr testing::MatmulWay kPairs = testing::kMatmulWays.back();

/// Of a [M, K] and b [N, K], with a bias and a residual.
struct Operands {
  std::int64_t M;
  std::int64_t N;
  std::int64_t K;
  GuardedBuffer<BFloat16> a{to_elements<BFloat16>(random_values("a", M* K))};
  GuardedBuffer<BFloat16> b{to_elements<BFloat16>(random_values("b", N* K))};
  GuardedBuffer<BFloat16> bias{to_elements<BFloat16>(random_values("bias", N))};
  GuardedBuffer<BFloat16> residual{to_elements<BFloat16>(random_values("residual", M* N))};

  /// c [rows, N], from `row` of the whole product on: how many rows there are does not decide how
  /// an element is summed.
  void multiply(
      std::int64_t row, std::int64_t rows, BFloat16* c, bool adds_terms, ThreadPool& pool) const {
    kPairs.run({.c = c,
                .a = a.get() + row * K,
                .b = b.get(),
                .bias_or_null = adds_terms ? bias.get() : nullptr,
                .residual_or_null = adds_terms ? residual.get() + row * N : nullptr,
                .M = rows,
                .N = N,
                .K = K,
                .transpose_a = false,
                .transpose_b = true,
                .accumulate = false,
                .scratch = nullptr},
               pool);
  }
};

/// Whether `rows` of a product by itself are those of the whole product.
bool has_same_rows(const Operands& operands,
                   const std::vector<float>& whole,
                   std::int64_t row,
                   std::int64_t rows,
                   bool adds_terms,
                   ThreadPool& pool) {
  const GuardedBuffer<BFloat16> few(rows * operands.N);
  operands.multiply(row, rows, few.get(), adds_terms, pool);
  const auto begin = whole.begin() + row * operands.N;
  return testing::same_bits(testing::to_float32(few.values()),
                            std::vector<float>(begin, begin + rows * operands.N));
}

// 2100 terms lie in place, 3072 would share sets of the caches and are packed. 1000 rows are enough
// pieces for a thread that each is as wide as c; 40 rows are not. Of 1536 columns, 960 rows of sums
// wait at a time.
TEST(MatmulPairs, LongRowsHaveTheBitsOfFewRows) {
  struct Shape {
    std::int64_t N;
    std::int64_t K;
  };
  for (const auto& [N, K] : {Shape{200, 2100}, {200, 3072}, {200, 4100}, {1536, 2100}}) {
    const Operands operands{1000, N, K};
    for (const int num_threads : {1, 3}) {
      ThreadPool pool(num_threads);
      const GuardedBuffer<BFloat16> c(operands.M * operands.N);
      operands.multiply(0, operands.M, c.get(), /*adds_terms=*/true, pool);
      const std::vector<float> whole = testing::to_float32(c.values());
      for (const std::int64_t row : {0, 500, 960}) {
        EXPECT_TRUE(has_same_rows(operands, whole, row, 40, true, pool))
            << K << " terms, row " << row << ", " << num_threads << " threads";
      }
    }
  }
}

// More than 8 Mi elements of c are streamed where its rows are whole lines: not where N is odd, nor
// at an address in the middle of a line.
TEST(MatmulPairs, LargeOutputsHaveTheBitsOfSmallOnes) {
  ThreadPool pool(2);
  for (const std::int64_t N : {8000, 8001}) {
    const Operands operands{1100, N, 6};
    for (const std::int64_t offset : {0, 2}) {
      for (const bool adds_terms : {false, true}) {
        const GuardedBuffer<BFloat16> c(offset + operands.M * N);
        operands.multiply(0, operands.M, c.get() + offset, adds_terms, pool);
        std::vector<float> whole = testing::to_float32(c.values());
        whole.erase(whole.begin(), whole.begin() + offset);
        for (const std::int64_t row : {0, 600, 1000}) {
          EXPECT_TRUE(has_same_rows(operands, whole, row, 100, adds_terms, pool))
              << N << " columns, row " << row << ", offset " << offset;
        }
      }
    }
  }
}

}  // namespace
}  // namespace halfpipe::cpu
