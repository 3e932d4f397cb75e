// SPDX-License-Identifier: Apache-2.0
// The fixture of all tests that run `halfpipe schedule`, and what every schedule written must keep.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/tools/command_fixture.h"

namespace halfpipe::tools {

class ScheduleCommand : public CommandTest {
 protected:
  /// `halfpipe schedule ARGUMENTS --json -`.
  [[nodiscard]] nlohmann::json json_of(const Arguments& arguments) const;
  /// What is printed.
  [[nodiscard]] std::string text_of(const Arguments& arguments) const;
  [[nodiscard]] ::testing::AssertionResult refuses(const Arguments& arguments,
                                                   const std::vector<std::string>& parts) const;

  /// A file of equal stages of one second for each pass, all with the keys of `every`, the last one
  /// with those of `last` as well.
  void write_stages(int num_stages, const std::string& every, const std::string& last = "") const;
};

/// Each pass once, one at a time on a rank, after its inputs: what the validator of the schedules
/// that others make asks, too.
void expect_valid(const nlohmann::json& schedule);

/// The first line that has `part`; empty if none has.
[[nodiscard]] std::string line_with(const std::string& text, const std::string& part);

}  // namespace halfpipe::tools
