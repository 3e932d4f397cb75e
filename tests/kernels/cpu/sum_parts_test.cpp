// SPDX-License-Identifier: Apache-2.0
// Sums of the parts of tensor ranks on the CPU: bit by bit, because the order of additions is
// fixed.
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <tuple>
#include <vector>

#include "kernels/cpu/reduction.h"
#include "tests/kernels/compare.h"
#include "tests/kernels/cpu/thread_counts.h"
#include "tests/kernels/element_tolerance.h"
#include "tests/kernels/element_values.h"
#include "tests/kernels/guarded_buffer.h"
#include "tests/kernels/parts_of_sum.h"
#include "tests/kernels/random_values.h"
#include "tests/kernels/reference.h"

namespace halfpipe::cpu {
namespace {

using testing::GuardedBuffer;
using testing::near_reference;
using testing::PartsOfSum;
using testing::random_values;
using testing::sum_in_order;
using testing::SumOut;
using testing::to_float64;
using Results = std::vector<std::vector<float>>;

std::vector<float> run_sum_parts(
    const PartsOfSum& p, std::size_t own_index, SumOut where, ThreadPool& pool, DType dtype) {
  std::vector<float> result;
  testing::with_elements(dtype, [&](auto element) {
    using T = decltype(element);
    const auto count = static_cast<std::int64_t>(p.parts.front().size());
    const auto C = p.bias.empty() ? count : static_cast<std::int64_t>(p.bias.size());
    const GuardedBuffer<T> apart(count);
    const GuardedBuffer<T> parts(testing::to_elements<T>(testing::received(p, own_index)));
    const GuardedBuffer<T> own(testing::to_elements<T>(p.parts[own_index]));
    const GuardedBuffer<T> bias(testing::to_elements<T>(p.bias));
    const GuardedBuffer<T> residual(testing::to_elements<T>(p.residual));
    const GuardedBuffer<T>& out = where == SumOut::kIsOwn        ? own
                                  : where == SumOut::kIsResidual ? residual
                                                                 : apart;
    sum_parts({out.get(), parts.get(), own.get(), static_cast<std::int64_t>(p.parts.size()),
               static_cast<std::int64_t>(own_index), p.bias.empty() ? nullptr : bias.get(),
               p.residual.empty() ? nullptr : residual.get(), count / C, C, dtype},
              pool);
    result = testing::to_float32(out.values());
  });
  return result;
}

// Element type, N, C, parts.
class SumParts
    : public ::testing::TestWithParam<std::tuple<DType, std::int64_t, std::int64_t, std::int64_t>> {
 protected:
  SumParts() {
    const auto [type, N, C, num_parts] = GetParam();
    dtype = type;
    for (std::int64_t k = 0; k < num_parts; ++k) {
      p.parts.push_back(values("part " + std::to_string(k), N * C));
    }
    p.bias = values("bias", C);
    p.residual = values("residual", N * C);
  }

  [[nodiscard]] std::vector<float> values(const std::string& name, std::int64_t count) const {
    return testing::representable(random_values(name, count), dtype);
  }

  DType dtype = DType::kFloat32;
  PartsOfSum p;
};

TEST_P(SumParts, AddsInOrderWhicheverPartIsOwn) {
  const auto expected = sum_in_order(p, dtype);
  for (std::size_t own = 0; own < p.parts.size(); ++own) {
    const Results actual = testing::run_with_any_threads([&](ThreadPool& pool) {
      return Results{run_sum_parts(p, own, SumOut::kApart, pool, dtype)};
    });
    EXPECT_TRUE(testing::same_bits(actual[0], expected));
  }
  std::vector<reference::Values> parts;
  for (const auto& part : p.parts) parts.push_back(to_float64(part));
  // Up to nine additions in float32 (6e-8 each, random signs).
  EXPECT_TRUE(near_reference(
      expected, reference::sum_parts(parts, to_float64(p.bias), to_float64(p.residual)),
      testing::element_tolerance(dtype, 3e-7)));
}

TEST_P(SumParts, OutMayBeOwnOrResidual) {
  ThreadPool pool(2);
  const auto expected = sum_in_order(p, dtype);
  EXPECT_TRUE(testing::same_bits(run_sum_parts(p, 0, SumOut::kIsOwn, pool, dtype), expected));
  EXPECT_TRUE(testing::same_bits(run_sum_parts(p, 0, SumOut::kIsResidual, pool, dtype), expected));
}

TEST_P(SumParts, NeedsNeitherBiasNorResidual) {
  ThreadPool pool(2);
  PartsOfSum without_residual = p;
  without_residual.residual.clear();
  EXPECT_TRUE(testing::same_bits(run_sum_parts(without_residual, 0, SumOut::kApart, pool, dtype),
                                 sum_in_order(without_residual, dtype)));
  PartsOfSum alone = without_residual;
  alone.bias.clear();
  EXPECT_TRUE(testing::same_bits(run_sum_parts(alone, 0, SumOut::kApart, pool, dtype),
                                 sum_in_order(alone, dtype)));
}

INSTANTIATE_TEST_SUITE_P(TypesRowsWidthsAndParts,
                         SumParts,
                         ::testing::Combine(::testing::Values(DType::kFloat32, DType::kBFloat16),
                                            ::testing::Values(1, 17, 130),
                                            ::testing::Values(1, 5, 16, 33, 384),
                                            ::testing::Values(1, 2, 3, 4, 8)));

// 2^24 + 1 is 2^24 in float32 and 1 + 1 + 2^24 is not: the result tells the order of the sum.
TEST(SumPartsOrder, PartsThenBiasThenResidual) {
  constexpr float kLarge = 16777216.0F;
  ThreadPool pool(1);
  const auto sum = [&](const PartsOfSum& p, std::size_t own_index) {
    return run_sum_parts(p, own_index, SumOut::kApart, pool, DType::kFloat32)[0];
  };
  for (const std::size_t own_index : {0U, 1U, 2U}) {
    EXPECT_EQ(sum({{{kLarge}, {1.0F}, {1.0F}}, {}, {}}, own_index), kLarge);
    EXPECT_EQ(sum({{{1.0F}, {1.0F}, {kLarge}}, {}, {}}, own_index), kLarge + 2.0F);
  }
  EXPECT_EQ(sum({{{1.0F}, {1.0F}}, {kLarge}, {}}, 0), kLarge + 2.0F);
  EXPECT_EQ(sum({{{1.0F}}, {kLarge}, {-kLarge}}, 0), 0.0F);
  EXPECT_EQ(sum({{{1.0F}}, {-kLarge}, {kLarge}}, 0), 1.0F);
}

}  // namespace
}  // namespace halfpipe::cpu
