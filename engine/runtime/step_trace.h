// SPDX-License-Identifier: Apache-2.0
// Collects the measured times of a step from all ranks.
#pragma once

#include <vector>

#include "engine/runtime/executor.h"
#include "engine/trace/chrome_trace.h"

namespace halfpipe::runtime {

/// The bars of every rank, in rank order, from the last run of `plan` on each. Times count from
/// each rank's start of the step, which a barrier has lined up. Collective.
[[nodiscard]] std::vector<std::vector<trace::TraceSpan>> gather_step_trace(
    const schedule::Plan& plan,
    const std::vector<InstructionTime>& my_times,
    transport::Transport& transport);

}  // namespace halfpipe::runtime
