// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "parallel/schedule/placement.h"
#include "parallel/schedule/stage_orders.h"

namespace halfpipe::schedule {

/// Every micro-batch goes forward and back before the next one starts: the least memory that any
/// schedule can do with, and hardly any work side by side.
[[nodiscard]] StageOrders one_at_a_time_orders(const Placement& placement, int num_micro_batches);

}  // namespace halfpipe::schedule
