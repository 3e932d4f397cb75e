// SPDX-License-Identifier: Apache-2.0
// Pass orders and costs to test the steps that follow order generation: two textbook schedules and
// random valid ones, which no catalogue would contain.
#pragma once

#include <cstdint>
#include <random>

#include "parallel/schedule/cost_model.h"
#include "parallel/schedule/stage_orders.h"

namespace halfpipe::schedule {

/// All forwards, then all backwards, on any placement.
[[nodiscard]] StageOrders all_forward_all_backward(const Placement& placement,
                                                   int num_micro_batches);
/// 1F1B on a linear placement.
[[nodiscard]] StageOrders one_forward_one_backward(int num_pipeline_ranks, int num_micro_batches);
/// Runs a random pass of those that are ready, until all are done.
[[nodiscard]] StageOrders random_orders(const Placement& placement,
                                        int num_micro_batches,
                                        std::mt19937& random);

/// Every stage alike: one second per pass, 128, 256 and 64 bytes in the three lifetimes.
[[nodiscard]] CostModel even_costs(const Placement& placement);
/// Random seconds and byte counts, among them zero and odd ones.
[[nodiscard]] CostModel random_costs(const Placement& placement, std::mt19937& random);

}  // namespace halfpipe::schedule
