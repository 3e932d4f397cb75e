// SPDX-License-Identifier: Apache-2.0
// The schedule of a job for a memory limit: schedule.name auto.
#pragma once

#include "engine/config/run_config.h"
#include "engine/runtime/chosen_schedule.h"

namespace halfpipe::runtime {

/// Considers a V, a zigzag of four chunks and one stage per rank, as far as there are layers for
/// them, and chooses the blocks of each stage along with placement and orders; with
/// parallel.layers_per_stage, the zigzag of as many chunks as it has. Arenas are within
/// schedule.memory_limit. Throws ScheduleError, with the smallest limit that would do, when nothing
/// fits. config.model.vocab_size is resolved.
[[nodiscard]] ChosenSchedule search_for_limit(const config::RunConfig& config);

}  // namespace halfpipe::runtime
