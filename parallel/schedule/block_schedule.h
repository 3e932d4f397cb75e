// SPDX-License-Identifier: Apache-2.0
// From a building block to a whole schedule.
#pragma once

#include "parallel/schedule/building_block.h"
#include "parallel/schedule/stage_orders.h"

namespace halfpipe::schedule {

/// Repeats a block of F and B passes, fills its holes with W, and compacts both ends until the span
/// at uniform costs shrinks no further. Every rank stays within `max_in_flight` stage activations.
/// Throws ScheduleError when the block needs more.
[[nodiscard]] StageOrders block_schedule(const BuildingBlock& block,
                                         int num_micro_batches,
                                         int max_in_flight);

}  // namespace halfpipe::schedule
