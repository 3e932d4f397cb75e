// SPDX-License-Identifier: Apache-2.0
// Words and roundings in vectors against those one at a time.
#include "kernels/cpu/stochastic_rounding.h"

#include <gtest/gtest.h>

#include <bit>
#include <cstdint>
#include <vector>

#include "kernels/core/philox.h"
#include "tests/kernels/guarded_buffer.h"

namespace halfpipe::cpu {
namespace {

using testing::GuardedBuffer;

TEST(FillRoundingWords, MakesTheWordsOfEachGroup) {
  const RoundingStream stream{
      .seed = 0xfedcba9876543210, .parameter = 0xffffffff, .step = 0x80000001};
  // Up to a carry into the counter's second word, and beyond 63 bits.
  for (const std::uint64_t first : {0ULL, 5ULL, 0xfffffffaULL, 0x7ffffffffffffff0ULL}) {
    for (const std::int64_t num_groups : {1, 7, 16, 65}) {
      const std::int64_t num_filled =
          (num_groups + kRoundingGroupsAtOnce - 1) / kRoundingGroupsAtOnce * kRoundingGroupsAtOnce;
      const GuardedBuffer<std::uint32_t> words(kRoundingGroup * num_filled);
      fill_rounding_words(stream, static_cast<std::int64_t>(first), num_groups, words.get());
      std::vector<std::uint32_t> expected;
      for (std::int64_t group = 0; group < num_filled; ++group) {
        for (const std::uint32_t word :
             rounding_words(stream, first + static_cast<std::uint64_t>(group))) {
          expected.push_back(word);
        }
      }
      EXPECT_EQ(words.values(), expected) << first << " " << num_groups;
    }
  }
}

// Values of any bits, among them NaN and infinities, with any random numbers.
TEST(StochasticRoundingInLanes, IsThatOfOneValue) {
  const auto expect_same = [](const std::vector<float>& values,
                              const std::vector<std::uint32_t>& words) {
    const Lanes lanes = load(values.data());
    std::vector<BFloat16> lower(values.size());
    std::vector<BFloat16> upper(values.size());
    store(lower.data(), round_stochastically<WordHalf::kLower>(lanes, words.data()));
    store(upper.data(), round_stochastically<WordHalf::kUpper>(lanes, words.data()));
    for (std::size_t i = 0; i < values.size(); ++i) {
      const auto bits = std::bit_cast<std::uint32_t>(values[i]);
      ASSERT_EQ(lower[i], halfpipe::round_stochastically(values[i], words[i] & 0xffffU)) << bits;
      ASSERT_EQ(upper[i], halfpipe::round_stochastically(values[i], words[i] >> 16)) << bits;
    }
  };
  std::vector<float> values(kLanes);
  std::vector<std::uint32_t> words(kLanes);
  for (std::uint32_t upper = 0; upper < 65536; ++upper) {
    for (std::size_t i = 0; i < values.size(); ++i) {
      const auto random = philox(/*key=*/2, upper, i);
      const std::uint32_t lower =
          i < 4 ? std::uint32_t{0x5555} * static_cast<std::uint32_t>(i) : random[0] & 0xffffU;
      values[i] = std::bit_cast<float>(upper << 16 | lower);
      words[i] = random[1];
    }
    expect_same(values, words);
  }
}

}  // namespace
}  // namespace halfpipe::cpu
