// SPDX-License-Identifier: Apache-2.0
// What a configuration asks of the schedule search: layers and their costs, limits, objective and
// budget.
#pragma once

#include "engine/config/run_config.h"
#include "parallel/schedule/cost_model.h"
#include "parallel/schedule/search/budget.h"
#include "parallel/schedule/search/layered_model.h"

namespace halfpipe::runtime {

/// For schedule.name auto. Limits are schedule.memory_limit in bytes; where the configuration has
/// none, what this machine has for each rank, and layers then count their residents, too.
/// config.model.vocab_size is resolved.
[[nodiscard]] schedule::JointProblem joint_problem_of(const config::RunConfig& config);

/// The same, but for activations alone whatever the limit counts.
[[nodiscard]] schedule::JointProblem activation_problem_of(const config::RunConfig& config);

/// Whole arenas have to fit: what is saved takes multiples of kArenaAlignment.
[[nodiscard]] schedule::CostModel in_arena_bytes(schedule::CostModel costs);

[[nodiscard]] schedule::Objective objective_of(const config::RunConfig& config);

/// On all cores of the machine: the other ranks wait meanwhile.
[[nodiscard]] schedule::SearchBudget search_budget_of(const config::ScheduleConfig& config);

}  // namespace halfpipe::runtime
