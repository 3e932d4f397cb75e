// SPDX-License-Identifier: Apache-2.0
// The schedule of a job for a memory limit: schedule.name auto.
#pragma once

#include "engine/config/run_config.h"
#include "engine/runtime/planning/chosen_schedule.h"

namespace halfpipe::runtime {

/// Considers searched_placements() and chooses the blocks of each stage along with placement and
/// orders, unless parallel.layers_per_stage gives them. Arenas are within schedule.memory_limit.
/// Throws ScheduleError, with the smallest limit that would do, when nothing fits.
/// config.model.vocab_size is resolved.
[[nodiscard]] ChosenSchedule search_for_limit(const config::RunConfig& config);

}  // namespace halfpipe::runtime
