// SPDX-License-Identifier: Apache-2.0
#include "engine/config/memory_limit.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "engine/config/load_config.h"

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

RunConfig with_limit(const std::vector<std::string>& settings) {
  const std::string text =
      "data: {text: a}\nparallel: {pipeline: 2}\nschedule: {name: auto, memory_limit: 60%}\n";
  return parse_config(text, "run.yaml", settings);
}

// A later value takes the place of an earlier one, whichever of the two kinds they are.
TEST(MemoryLimit, IsOneForAllRanksOrOneForEach) {
  const ScheduleConfig all = with_limit({}).schedule;
  EXPECT_EQ(all.memory_limit, "60%");
  EXPECT_TRUE(all.rank_memory_limits.empty());
  const std::vector<std::string> of_each{"schedule.memory_limit=[2GiB, 50%]"};
  const ScheduleConfig each = with_limit(of_each).schedule;
  EXPECT_EQ(each.memory_limit, "");
  EXPECT_EQ(each.rank_memory_limits, (std::vector<std::string>{"2GiB", "50%"}));
  EXPECT_EQ(with_limit({of_each.front(), "schedule.memory_limit=60%"}).schedule, all);
  const ScheduleConfig none = with_limit({of_each.front(), "schedule.memory_limit=null"}).schedule;
  EXPECT_TRUE(none.memory_limit.empty() && none.rank_memory_limits.empty());
  // A named schedule has none.
  EXPECT_TRUE(with_limit({"schedule.name=v-half"}).schedule.memory_limit.empty());
}

}  // namespace
}  // namespace halfpipe::config
