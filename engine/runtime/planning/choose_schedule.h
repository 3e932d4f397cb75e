// SPDX-License-Identifier: Apache-2.0
// Which stages run where and in which order: the schedule that a configuration names, improved for
// the stages' costs, or the one that a search finds for a memory limit.
#pragma once

#include "engine/config/run_config.h"
#include "engine/runtime/planning/chosen_schedule.h"

namespace halfpipe::runtime {

/// config.model.vocab_size is resolved. schedule.name auto considers searched_placements() and
/// chooses the blocks of each stage along with placement and orders, unless
/// parallel.layers_per_stage gives them. No named schedule that fits the limit on one of these
/// placements is better.
/// Throws ScheduleError, with the smallest limit that would do, when nothing fits
/// schedule.memory_limit.
///
/// Named orders that are made for equal costs are improved by a search for the costs of the stages,
/// with no more memory on any rank, unless schedule.exact is true.
[[nodiscard]] ChosenSchedule choose_schedule(const config::RunConfig& config);

}  // namespace halfpipe::runtime
