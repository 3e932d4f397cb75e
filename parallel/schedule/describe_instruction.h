// SPDX-License-Identifier: Apache-2.0
// Instructions in words, for error messages, logs and the watchdog.
#pragma once

#include <string>

#include "parallel/schedule/plan.h"

namespace halfpipe::schedule {

/// "backward_weight of stage 3, micro-batch 1" or "send to rank 2 of message 17 (activation of
/// stage 1, micro-batch 4)". The message index must be within plan.messages or kNone.
[[nodiscard]] std::string describe(const Plan& plan, const Instruction& instruction);
/// The same with its place: "rank 1, instruction 12 (backward_weight of stage 3, micro-batch 1)".
[[nodiscard]] std::string describe_at(const Plan& plan, int pipeline_rank, int instruction_index);

}  // namespace halfpipe::schedule
