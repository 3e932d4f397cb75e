// SPDX-License-Identifier: Apache-2.0
// What a configuration asks of the schedule search: layers and their costs, limits, objective and
// budget.
#pragma once

#include <vector>

#include "engine/config/run_config.h"
#include "parallel/schedule/cost_model.h"
#include "parallel/schedule/placement.h"
#include "parallel/schedule/search/budget.h"
#include "parallel/schedule/search/layered_model.h"

namespace halfpipe::runtime {

/// What schedule.name auto chooses from: one stage per rank, a V, two stages per rank that go
/// round, and a zigzag of four if there are layers for it, as far as a plan of so many stages is
/// allowed; with parallel.layers_per_stage, the zigzag and the round of as many chunks as it has.
[[nodiscard]] std::vector<schedule::Placement> searched_placements(const config::RunConfig& config);

/// Whether limits are for all that a rank holds, since the configuration has none: what this
/// machine, or its device, has for each rank. Otherwise they are for activations.
[[nodiscard]] bool limit_counts_residents(const config::RunConfig& config);

/// For schedule.name auto. Limits are those of the configuration, in bytes, or what this machine
/// (or, of GPUs, config.device.free_bytes) has for each rank; then layers count their residents,
/// too: parameters, gradients, optimizer states and the step's tokens, targets and losses.
/// config.model.vocab_size is resolved.
[[nodiscard]] schedule::JointProblem joint_problem_of(const config::RunConfig& config);

/// Whole arenas have to fit: what is saved takes multiples of kArenaAlignment.
[[nodiscard]] schedule::CostModel in_arena_bytes(schedule::CostModel costs);

[[nodiscard]] schedule::Objective objective_of(const config::RunConfig& config);

/// On all cores of the machine: the other ranks wait meanwhile.
[[nodiscard]] schedule::SearchBudget search_budget_of(const config::ScheduleConfig& config);

}  // namespace halfpipe::runtime
