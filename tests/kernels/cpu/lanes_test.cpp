// SPDX-License-Identifier: Apache-2.0
// Lanes in memory: whole and in part, in float32 and bfloat16; and which element types kernels
// take.
#include "kernels/cpu/lanes.h"

#include <gtest/gtest.h>

#include <bit>
#include <cstdint>
#include <limits>
#include <numeric>
#include <vector>

#include "kernels/core/error.h"
#include "kernels/core/philox.h"
#include "tests/kernels/compare.h"
#include "tests/kernels/element_values.h"
#include "tests/kernels/guarded_buffer.h"
#include "tests/kernels/random_values.h"

namespace halfpipe::cpu {
namespace {

using testing::GuardedBuffer;
using testing::random_values;
using testing::same_bits;

template <typename T>
class LanesOf : public ::testing::Test {};
using ElementTypes = ::testing::Types<float, BFloat16>;
TYPED_TEST_SUITE(LanesOf, ElementTypes);

TYPED_TEST(LanesOf, ReadAndWriteAnyWidth) {
  const auto elements = testing::to_elements<TypeParam>(random_values("elements", kLanes));
  for (std::int64_t width = 1; width <= kLanes; ++width) {
    const GuardedBuffer<TypeParam> from({elements.begin(), elements.begin() + width});
    const Lanes lanes = load(from.get(), width, /*fill=*/7.0F);

    std::vector<float> expected = testing::to_float32(from.values());
    expected.resize(kLanes, 7.0F);
    const GuardedBuffer<float> all(kLanes);
    store(all.get(), lanes);
    EXPECT_TRUE(same_bits(all.values(), expected)) << width;

    const GuardedBuffer<TypeParam> to(width);
    store(to.get(), lanes, width);
    EXPECT_EQ(to.values(), from.values()) << width;
  }
}

TYPED_TEST(LanesOf, ConvertAnyCount) {
  for (const std::int64_t count : {0, 1, 15, 16, 17, 31, 32, 1000}) {
    const auto values = random_values("values", count);
    const GuardedBuffer<float> from(values);
    const GuardedBuffer<TypeParam> to(count);
    convert(from.get(), count, to.get());
    EXPECT_EQ(to.values(), testing::to_elements<TypeParam>(values)) << count;

    const GuardedBuffer<float> back(count);
    convert(to.get(), count, back.get());
    EXPECT_TRUE(same_bits(back.values(), testing::to_float32(to.values()))) << count;
  }
}

std::vector<BFloat16> rounded_in_lanes(const std::vector<float>& values) {
  const GuardedBuffer<float> from(values);
  const GuardedBuffer<BFloat16> to(static_cast<std::int64_t>(values.size()));
  convert(from.get(), static_cast<std::int64_t>(values.size()), to.get());
  return to.values();
}

// Every bfloat16 with the lower halves at which rounding turns, and NaN of all kinds among them.
TEST(LanesOfBFloat16, RoundAsToBFloat16) {
  std::vector<float> values;
  for (std::uint32_t upper = 0; upper < 65536; ++upper) {
    for (const std::uint32_t lower : {0x0000U, 0x0001U, 0x7fffU, 0x8000U, 0x8001U, 0xffffU}) {
      values.push_back(std::bit_cast<float>((upper << 16) | lower));
    }
  }
  EXPECT_EQ(rounded_in_lanes(values), testing::to_elements<BFloat16>(values));
}

TEST(LanesOfBFloat16, RoundAnyBitsAsToBFloat16) {
  std::vector<float> values;
  for (std::uint64_t i = 0; i < 100'000; ++i) {
    for (const std::uint32_t word : philox(/*key=*/1, i)) {
      values.push_back(std::bit_cast<float>(word));
    }
  }
  EXPECT_EQ(rounded_in_lanes(values), testing::to_elements<BFloat16>(values));
}

TEST(LanesOfBFloat16, WidenEveryValue) {
  std::vector<BFloat16> elements(65536);
  for (std::size_t i = 0; i < elements.size(); ++i) elements[i] = {static_cast<std::uint16_t>(i)};
  std::vector<float> widened(elements.size());
  convert(elements.data(), static_cast<std::int64_t>(elements.size()), widened.data());
  EXPECT_TRUE(same_bits(widened, testing::to_float32(elements)));
}

TEST(Lanes, SumHalvesFirst) {
  std::vector<float> values(kLanes, 0.0F);
  values[0] = 16777216.0F;  // 2^24: one more is lost
  values[1] = 1.0F;
  values[9] = 1.0F;
  EXPECT_EQ(sum(load(values.data())), 16777218.0F);  // 1 + 9 before they meet 0
  values[9] = 0.0F;
  values[8] = 1.0F;
  EXPECT_EQ(sum(load(values.data())), 16777216.0F);
}

TEST(Lanes, TheGreaterPassesNanOver) {
  std::vector<float> values(kLanes, 1.0F);
  values[3] = std::numeric_limits<float>::quiet_NaN();
  values[4] = 3.0F;
  std::vector<float> greater(kLanes);
  store(greater.data(), greater_of(load(values.data()), Lanes(2.0F)));
  std::vector<float> expected(kLanes, 2.0F);
  expected[4] = 3.0F;
  EXPECT_EQ(greater, expected);
}

TEST(Float64LanesSum, KeepsWhatFloat32Loses) {
  Float64Lanes lanes;
  std::vector<float> values(kLanes);
  std::iota(values.begin(), values.end(), 1.0F);
  lanes.add(Lanes(16777216.0F));
  lanes.add(load(values.data()));
  EXPECT_EQ(lanes.values()[2], 16777219.0);
  EXPECT_EQ(lanes.sum(), 16.0 * 16777216.0 + 136.0);
}

TEST(ElementType, IsFloatOrBFloat16) {
  const auto size_of_element = [](DType dtype) {
    std::size_t bytes = 0;
    with_element_type(dtype, [&]<typename T>() { bytes = sizeof(T); });
    return bytes;
  };
  EXPECT_EQ(size_of_element(DType::kFloat32), 4U);
  EXPECT_EQ(size_of_element(DType::kBFloat16), 2U);
  for (const DType other : {DType::kFloat64, DType::kInt32, DType::kInt64, DType::kUInt8}) {
    EXPECT_THROW(size_of_element(other), InternalError) << name_of(other);
  }
}

}  // namespace
}  // namespace halfpipe::cpu
