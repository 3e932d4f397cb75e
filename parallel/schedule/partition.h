// SPDX-License-Identifier: Apache-2.0
// How many transformer blocks each stage gets.
#pragma once

#include <vector>

#include "parallel/schedule/placement.h"

namespace halfpipe::schedule {

/// Blocks per stage, in stage order; they sum to num_blocks and a stage may get none. Costs are
/// seconds (or any unit) per micro-batch: of one block, of what the first stage does besides
/// (embedding) and of what the last stage does besides (head and loss). Minimises, in this order,
/// the load of the heaviest rank (the sum over its chunks), the load of the heaviest stage, and the
/// sum of squared stage loads; among equals, later stages get more, since under most schedules the
/// earlier ranks keep more micro-batches. Deterministic. Throws ScheduleError unless num_blocks
/// is >= 0, block_cost > 0 and the extras are >= 0, all finite.
[[nodiscard]] std::vector<int> partition_blocks(const Placement& placement,
                                                int num_blocks,
                                                double block_cost,
                                                double first_stage_extra,
                                                double last_stage_extra);

}  // namespace halfpipe::schedule
