// SPDX-License-Identifier: Apache-2.0
// The training that a fixture describes, run by the engine on threads of this process.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "tests/oracles/fixture.h"

namespace halfpipe::oracles {

/// Host copies of one rank's parameters by name.
using HostParameters = std::map<std::string, std::vector<float>>;

struct RankRecord {
  std::vector<runtime::StepResult> steps;
  HostParameters gradients;  // after step 0; a copy of a tied embedding included
  HostParameters values;     // after the last step
};

/// Starts from the fixture's parameters and runs all of its steps on `pipeline` ranks. One record
/// per rank.
[[nodiscard]] std::vector<RankRecord> train(const Fixture& fixture,
                                            const std::string& schedule,
                                            int pipeline);

}  // namespace halfpipe::oracles
