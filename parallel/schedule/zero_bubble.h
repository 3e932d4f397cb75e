// SPDX-License-Identifier: Apache-2.0
// ZB-1P and ZB-2P (Qi et al. 2023, arXiv:2401.10241): one stage per rank, W passes fill the waits,
// and the memory limit of p or 2p micro-batches is the same on every rank.
#pragma once

#include <string>

#include "parallel/schedule/cost_model.h"
#include "parallel/schedule/stage_orders.h"

namespace halfpipe::schedule {

/// Tries several lengths of warm-up with `costs` and keeps the best; `max_in_flight` micro-batches
/// per rank at most: p for ZB-1P, 2p for ZB-2P.
[[nodiscard]] StageOrders zero_bubble_orders(const std::string& name,
                                             int num_pipeline_ranks,
                                             int num_micro_batches,
                                             const CostModel& costs,
                                             int max_in_flight);

}  // namespace halfpipe::schedule
