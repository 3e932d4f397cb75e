// SPDX-License-Identifier: Apache-2.0
#include "engine/config/memory_limit.h"

#include <gtest/gtest.h>

namespace halfpipe::config {
namespace {

TEST(MemoryLimit, IsBytesUnitsOrAShare) {
  using enum MemoryMeasure;
  EXPECT_EQ(parse_memory_limit("512 MiB"), (MemoryLimit{kBytes, 512.0 * 1024 * 1024}));
  EXPECT_EQ(parse_memory_limit("2GiB"), (MemoryLimit{kBytes, 2.0 * 1024 * 1024 * 1024}));
  EXPECT_EQ(parse_memory_limit("100 B"), (MemoryLimit{kBytes, 100.0}));
  EXPECT_EQ(parse_memory_limit("4.5 units"), (MemoryLimit{kUnits, 4.5}));
  EXPECT_EQ(parse_memory_limit("1 unit"), (MemoryLimit{kUnits, 1.0}));
  EXPECT_EQ(parse_memory_limit("50%"), (MemoryLimit{kShareOf1F1B, 0.5}));
  EXPECT_EQ(parse_memory_limit("  50  % "), (MemoryLimit{kShareOf1F1B, 0.5}));
}

TEST(MemoryLimit, NeedsAMeasureAndAPositiveNumber) {
  for (const char* text : {"", " ", "5", "MiB", "0 MiB", "-1 units", "nan units", "inf%", "5 MB",
                           "5 mib", "half", "5 units more", "1e999 B", "5 %%", "0x10 B"}) {
    EXPECT_FALSE(parse_memory_limit(text)) << text;
  }
}

}  // namespace
}  // namespace halfpipe::config
