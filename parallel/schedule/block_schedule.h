// SPDX-License-Identifier: Apache-2.0
// From a building block to a whole schedule.
#pragma once

#include "parallel/schedule/building_block.h"
#include "parallel/schedule/stage_orders.h"

namespace halfpipe::schedule {

/// What a block's schedule is known to reach.
struct BlockGoal {
  int max_in_flight;  // stage activations on one rank: a limit
  // Span at uniform costs beyond a rank's own passes, from 2p micro-batches on; fewer may do
  // better.
  int idle_slots;
  // What a message takes while W passes are put into the holes. Where it is a little, passes that
  // are there just in time at 0 come after a W, not before two: orders that bear messages.
  double message_slots = 0.0;
};

/// Repeats a block of F and B passes, fills its holes with W, and compacts both ends until the goal
/// is reached or no pass moves any more. A block that has W passes keeps every W right behind its B
/// instead, where that block has it. Throws ScheduleError when the block needs more than
/// goal.max_in_flight.
[[nodiscard]] StageOrders block_schedule(const BuildingBlock& block,
                                         int num_micro_batches,
                                         const BlockGoal& goal);

}  // namespace halfpipe::schedule
