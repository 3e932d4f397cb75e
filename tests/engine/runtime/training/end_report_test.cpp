// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/training/end_report.h"

#include <gtest/gtest.h>

namespace halfpipe::runtime {
namespace {

constexpr std::int64_t kMebibyte = 1024 * 1024;

TEST(EndReport, HasALineForEveryProcess) {
  const std::string text = end_report({{10 * kMebibyte, 50 * kMebibyte, 7},
                                       {20 * kMebibyte, 50 * kMebibyte, 7},
                                       {5 * kMebibyte, 6 * kMebibyte, 8}});
  EXPECT_NE(text.find("  ranks 0-1            30.00       50.00       20.00\n"), std::string::npos)
      << text;
  EXPECT_NE(text.find("  rank 2                5.00        6.00        1.00\n"), std::string::npos)
      << text;
}

TEST(EndReport, HasTheMediansOfWhatReplicasWaitedFor) {
  EXPECT_EQ(exchange_line({{0.002, 0.5, 0.001}, {}}),
            "replicas        gradients exposed for 2.00 ms a step after the last pass (medians)\n");
  EXPECT_EQ(exchange_line({{0.002}, {0.0005, 0.003, 0.004}}),
            "replicas        gradients exposed for 2.00 ms a step after the last pass, parameters "
            "for 3.00 ms (medians)\n");
}

}  // namespace
}  // namespace halfpipe::runtime
