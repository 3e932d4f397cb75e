// SPDX-License-Identifier: Apache-2.0
// From the order of the passes to a proved plan.
#pragma once

#include "parallel/schedule/cost_model.h"
#include "parallel/schedule/plan.h"
#include "parallel/schedule/stage_orders.h"

namespace halfpipe::schedule {

/// The training plan of these orders: inserts communication, numbers message buffers, lays out the
/// activation arena and validates. Throws ScheduleError when the orders break a rule of
/// validate.h.
[[nodiscard]] Plan build_plan(const StageOrders& orders, const CostModel& costs);

/// The evaluation plan: forward passes only, named "forward".
[[nodiscard]] Plan build_forward_plan(const Placement& placement,
                                      int num_micro_batches,
                                      const CostModel& costs);

}  // namespace halfpipe::schedule
