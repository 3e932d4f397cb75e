// SPDX-License-Identifier: Apache-2.0
// Proves a plan before any rank starts, from the plan alone: it takes over no decision of the steps
// that built it.
#pragma once

#include <optional>
#include <string>

#include "parallel/schedule/cost_model.h"
#include "parallel/schedule/plan.h"

namespace halfpipe::schedule {

/// The first broken rule in words (rank, instruction, pass, rule), or nothing. The rules:
///   - every pass runs exactly once, on the rank that hosts its stage; per (stage, micro-batch)
///     F before B before W; per stage each of F, B, W in micro-batch order, which makes the sums
///     of weight gradients the same bits under every schedule;
///   - every pass finds its input in its buffer, arrived and waited for; no buffer is overwritten
///     while it holds something, is being received into or is being sent; nothing is left open;
///   - the k-th send from rank a to rank b is the k-th receive posted at b, and every send has one;
///   - the plan comes to an end, with buffered sends and with rendezvous sends;
///   - live saved ranges never overlap and stay inside the arena, and their sum peaks at exactly
///     the stated bytes.
/// n log n in the number of instructions.
[[nodiscard]] std::optional<std::string> first_violation(const Plan& plan, const CostModel& costs);

/// Throws ScheduleError with that text.
void validate(const Plan& plan, const CostModel& costs);

}  // namespace halfpipe::schedule
