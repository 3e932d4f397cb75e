// SPDX-License-Identifier: Apache-2.0
// W passes as filling: given the order of F and B on every rank, puts each W where the rank would
// wait, or where memory runs out (Qi et al. 2023, arXiv:2401.10241, section 2).
#pragma once

#include <vector>

#include "parallel/schedule/cost_model.h"
#include "parallel/schedule/stage_orders.h"

namespace halfpipe::schedule {

struct WeightPassPolicy {
  /// Most stage activations (F started, W not ended) on one rank.
  int max_in_flight = 1;
  /// A wait of known length is filled only where at least this share of a W fits in it; 0: always.
  double least_share_in_wait = 0.0;
};

/// `orders` holds every F and B and no W; F and B keep their order. Walks through time with
/// `costs`: a rank runs its next F or B as soon as it can, else the W that has waited longest.
/// Throws ScheduleError when the orders cannot run, or not within max_in_flight.
[[nodiscard]] StageOrders place_weight_passes(const StageOrders& orders,
                                              const CostModel& costs,
                                              const WeightPassPolicy& policy);

/// Places W passes into every one of `candidates` (at least one) with several shares of
/// WeightPassPolicy, and returns the result of smallest span, then smallest makespan, then first.
[[nodiscard]] StageOrders best_weight_placement(const std::vector<StageOrders>& candidates,
                                                const CostModel& costs,
                                                int max_in_flight);

/// The same orders with F and B only.
[[nodiscard]] StageOrders without_weight_passes(StageOrders orders);

}  // namespace halfpipe::schedule
