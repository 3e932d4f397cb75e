// SPDX-License-Identifier: Apache-2.0
// The fixture of the tests that run `halfpipe plan`, and how they read its tables.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/tools/command_fixture.h"

namespace halfpipe::tools {

class PlanCommand : public CommandTest {
 protected:
  /// `plan run.yaml` with settings, and more arguments.
  [[nodiscard]] CommandResult plan(const Arguments& settings, const Arguments& more = {}) const {
    Arguments arguments{"plan", "run.yaml"};
    for (const std::string& setting : settings) arguments = arguments + Arguments{"--set", setting};
    return run(arguments + more);
  }

  [[nodiscard]] nlohmann::json plan_json(const Arguments& settings,
                                         const Arguments& more = {}) const {
    const CommandResult result = plan(settings, Arguments{"--json", "-"} + more);
    EXPECT_TRUE(succeeded(result));
    return nlohmann::json::parse(result.out);
  }
};

/// The words of the first line that begins with `start`, spaces in front left out.
[[nodiscard]] std::vector<std::string> words_of_line(const std::string& text,
                                                     const std::string& start);

}  // namespace halfpipe::tools
