// SPDX-License-Identifier: Apache-2.0
// Sums of the parts of tensor ranks on the GPU: bit by bit, because the order of additions is
// fixed.
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <tuple>
#include <vector>

#include "kernels/cuda/reduction.h"
#include "tests/kernels/compare.h"
#include "tests/kernels/cuda/device_array.h"
#include "tests/kernels/element_tolerance.h"
#include "tests/kernels/element_values.h"
#include "tests/kernels/parts_of_sum.h"
#include "tests/kernels/random_values.h"
#include "tests/kernels/reference.h"

namespace halfpipe::cuda {
namespace {

using testing::DeviceArray;
using testing::near_reference;
using testing::PartsOfSum;
using testing::random_values;
using testing::representable;
using testing::sum_in_order;
using testing::SumOut;
using testing::to_float64;
using Values = std::vector<float>;

Values run_sum_parts(
    const PartsOfSum& p, std::size_t own_index, SumOut where, DType dtype, std::size_t offset = 0) {
  const auto count = static_cast<std::int64_t>(p.parts.front().size());
  const auto C = p.bias.empty() ? count : static_cast<std::int64_t>(p.bias.size());
  const DeviceArray apart(dtype, count, offset);
  const DeviceArray parts(dtype, testing::received(p, own_index), offset);
  const DeviceArray own(dtype, p.parts[own_index], offset);
  const DeviceArray bias(dtype, p.bias, offset);
  const DeviceArray residual(dtype, p.residual, offset);
  const DeviceArray& out = where == SumOut::kIsOwn        ? own
                           : where == SumOut::kIsResidual ? residual
                                                          : apart;
  sum_parts({out.get(), parts.get(), own.get(), static_cast<std::int64_t>(p.parts.size()),
             static_cast<std::int64_t>(own_index), p.bias.empty() ? nullptr : bias.get(),
             p.residual.empty() ? nullptr : residual.get(), count / C, C, dtype},
            nullptr);
  return out.values();
}

// Element type, N, C, parts, elements past a 16-byte boundary at which the arrays begin.
class SumParts : public ::testing::TestWithParam<
                     std::tuple<DType, std::int64_t, std::int64_t, std::int64_t, std::size_t>> {
 protected:
  SumParts() {
    const auto [type, N, C, num_parts, begin] = GetParam();
    dtype = type;
    offset = begin;
    for (std::int64_t k = 0; k < num_parts; ++k) {
      p.parts.push_back(values("part " + std::to_string(k), N * C));
    }
    p.bias = values("bias", C);
    p.residual = values("residual", N * C);
  }

  [[nodiscard]] Values values(const std::string& name, std::int64_t count) const {
    return representable(random_values(name, count), dtype);
  }

  DType dtype = DType::kFloat32;
  std::size_t offset = 0;
  PartsOfSum p;
};

TEST_P(SumParts, AddsInOrderWhicheverPartIsOwn) {
  const Values expected = sum_in_order(p, dtype);
  for (std::size_t own = 0; own < p.parts.size(); ++own) {
    EXPECT_TRUE(testing::same_bits(run_sum_parts(p, own, SumOut::kApart, dtype, offset), expected));
  }
  std::vector<reference::Values> parts;
  for (const Values& part : p.parts) parts.push_back(to_float64(part));
  // Up to nine additions in float32 (6e-8 each, random signs).
  EXPECT_TRUE(near_reference(
      expected, reference::sum_parts(parts, to_float64(p.bias), to_float64(p.residual)),
      testing::element_tolerance(dtype, 3e-7)));
}

TEST_P(SumParts, OutMayBeOwnOrResidual) {
  const Values expected = sum_in_order(p, dtype);
  EXPECT_TRUE(testing::same_bits(run_sum_parts(p, 0, SumOut::kIsOwn, dtype, offset), expected));
  EXPECT_TRUE(
      testing::same_bits(run_sum_parts(p, 0, SumOut::kIsResidual, dtype, offset), expected));
}

TEST_P(SumParts, NeedsNeitherBiasNorResidual) {
  PartsOfSum without_residual = p;
  without_residual.residual.clear();
  EXPECT_TRUE(testing::same_bits(run_sum_parts(without_residual, 0, SumOut::kApart, dtype, offset),
                                 sum_in_order(without_residual, dtype)));
  PartsOfSum alone = without_residual;
  alone.bias.clear();
  EXPECT_TRUE(testing::same_bits(run_sum_parts(alone, 0, SumOut::kApart, dtype, offset),
                                 sum_in_order(alone, dtype)));
}

// One part, as many as are read together, some more.
INSTANTIATE_TEST_SUITE_P(RowsWidthsAndParts,
                         SumParts,
                         ::testing::Combine(::testing::Values(DType::kFloat32, DType::kBFloat16),
                                            ::testing::Values(1, 17),
                                            ::testing::Values(1, 5, 16, 33, 392),
                                            ::testing::Values(1, 2, 3, 4, 5, 8),
                                            ::testing::Values(0, 1)));

// 2^24 + 1 is 2^24 in float32 and 1 + 1 + 2^24 is not: the result tells the order of the sum.
TEST(SumPartsOrder, PartsThenBiasThenResidual) {
  constexpr float kLarge = 16777216.0F;
  const auto sum = [&](const PartsOfSum& p, std::size_t own_index) {
    return run_sum_parts(p, own_index, SumOut::kApart, DType::kFloat32)[0];
  };
  for (const std::size_t own_index : {0U, 1U, 2U}) {
    EXPECT_EQ(sum({{{kLarge}, {1.0F}, {1.0F}}, {}, {}}, own_index), kLarge);
    EXPECT_EQ(sum({{{1.0F}, {1.0F}, {kLarge}}, {}, {}}, own_index), kLarge + 2.0F);
  }
  EXPECT_EQ(sum({{{1.0F}, {1.0F}}, {kLarge}, {}}, 0), kLarge + 2.0F);
  EXPECT_EQ(sum({{{1.0F}}, {kLarge}, {-kLarge}}, 0), 0.0F);
  EXPECT_EQ(sum({{{1.0F}}, {-kLarge}, {kLarge}}, 0), 1.0F);
}

TEST(SumPartsOrder, EmptyInputIsNoWork) {
  sum_parts({nullptr, nullptr, nullptr, 2, 0, nullptr, nullptr, 0, 8}, nullptr);
  sum_parts({nullptr, nullptr, nullptr, 2, 0, nullptr, nullptr, 8, 0}, nullptr);
}

}  // namespace
}  // namespace halfpipe::cuda
