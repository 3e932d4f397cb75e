// SPDX-License-Identifier: Apache-2.0
// GPipe (Huang et al. 2019, arXiv:1811.06965): all forwards, then all backwards. Its offsets depend
// on the number of micro-batches, so it is no building block.
#pragma once

#include "parallel/schedule/stage_orders.h"

namespace halfpipe::schedule {

/// B runs in micro-batch order too (not last in, first out), W at once after its B. Keeps all
/// micro-batches in flight.
[[nodiscard]] StageOrders gpipe_orders(int num_pipeline_ranks, int num_micro_batches);

}  // namespace halfpipe::schedule
