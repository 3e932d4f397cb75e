// SPDX-License-Identifier: Apache-2.0
// The order of an evaluation: forward passes only.
#pragma once

#include "parallel/schedule/cost_model.h"
#include "parallel/schedule/stage_orders.h"

namespace halfpipe::schedule {

/// Forward passes as a greedy simulation runs them: a free rank takes, of the passes whose input is
/// there, that of the latest chunk, so that micro-batches leave as soon as they can. No stage gets
/// far ahead of a slower one after it: micro-batches that wait there take memory for messages.
[[nodiscard]] StageOrders forward_orders(const Placement& placement,
                                         int num_micro_batches,
                                         const CostModel& costs);

}  // namespace halfpipe::schedule
