// SPDX-License-Identifier: Apache-2.0
// Interleaved 1F1B (Narayanan et al. 2021, arXiv:2104.04473, section 2.2): every rank hosts several
// stages and takes p micro-batches through one of them before it turns to the next.
#pragma once

#include "parallel/schedule/stage_orders.h"

namespace halfpipe::schedule {

/// W runs at once after its B. With one chunk this is 1F1B. Any number of micro-batches: the last
/// group of p is laid out in full, and the passes of the micro-batches that it lacks are left out.
[[nodiscard]] StageOrders interleaved_orders(int num_pipeline_ranks,
                                             int num_micro_batches,
                                             int num_chunks);

}  // namespace halfpipe::schedule
