// SPDX-License-Identifier: Apache-2.0
// Moves passes of the warm-up and of the cool-down into earlier idle slots. A repeated building
// block leaves holes where fewer micro-batches are under way than in the steady state (the idea of
// reordering the two ends is from Qi et al. 2024, arXiv:2405.15362, section 3).
#pragma once

#include "parallel/schedule/stage_orders.h"

namespace halfpipe::schedule {

/// Times `orders` with unit costs, walks through its passes in time order, and moves every pass
/// before rank 0's first B of stage 0 or after its last F of stage 0 to the earliest idle slot of
/// its rank that its inputs and micro-batch order allow, and in which the rank stays within
/// `max_in_flight` stage activations. `orders` holds every F, B and W, and must itself stay within
/// the limit.
[[nodiscard]] StageOrders compact(const StageOrders& orders, int max_in_flight);

}  // namespace halfpipe::schedule
