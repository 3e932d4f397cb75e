// SPDX-License-Identifier: Apache-2.0
// Rounding of sizes and counts.
#include "kernels/core/align.h"

#include <gtest/gtest.h>

#include <cstdint>

namespace halfpipe {
namespace {

TEST(CeilDiv, RoundsUp) {
  EXPECT_EQ(ceil_div(0, 4), 0);
  EXPECT_EQ(ceil_div(1, 4), 1);
  EXPECT_EQ(ceil_div(4, 4), 1);
  EXPECT_EQ(ceil_div(5, 4), 2);
  EXPECT_EQ(ceil_div(std::int64_t{1} << 40, std::int64_t{3}), 366503875926);
}

TEST(RoundUp, KeepsMultiples) {
  EXPECT_EQ(round_up(0, 64), 0);
  EXPECT_EQ(round_up(1, 64), 64);
  EXPECT_EQ(round_up(64, 64), 64);
  EXPECT_EQ(round_up(65, 64), 128);
}

TEST(PaddedBytes, IsTheNextCacheLine) {
  EXPECT_EQ(padded_bytes(0), 0U);
  for (std::size_t bytes = 1; bytes < 300; ++bytes) {
    EXPECT_EQ(padded_bytes(bytes) % kTensorAlignment, 0U);
    EXPECT_GE(padded_bytes(bytes), bytes);
    EXPECT_LT(padded_bytes(bytes) - bytes, kTensorAlignment);
  }
}

}  // namespace
}  // namespace halfpipe
