// SPDX-License-Identifier: Apache-2.0
// V-ZB (Qi et al. 2024, arXiv:2405.15362): the V placement at the memory of 1F1B, p micro-batches
// on every rank, without a bubble at uniform costs from 2p micro-batches on.
#pragma once

#include "parallel/schedule/cost_model.h"
#include "parallel/schedule/stage_orders.h"

namespace halfpipe::schedule {

/// F and B follow one pattern for all costs; W passes are placed with `costs`.
[[nodiscard]] StageOrders v_zb_orders(int num_pipeline_ranks,
                                      int num_micro_batches,
                                      const CostModel& costs);

}  // namespace halfpipe::schedule
