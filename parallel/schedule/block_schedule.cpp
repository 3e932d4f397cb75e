// SPDX-License-Identifier: Apache-2.0
#include "parallel/schedule/block_schedule.h"

#include <utility>

#include "parallel/schedule/compact.h"
#include "parallel/schedule/place_weight_passes.h"
#include "parallel/schedule/simulate.h"

namespace halfpipe::schedule {

StageOrders block_schedule(const BuildingBlock& block,
                           int num_micro_batches,
                           const BlockGoal& goal) {
  const CostModel costs = uniform_costs(block.placement.num_stages());
  const WeightPassPolicy policy{.max_in_flight = goal.max_in_flight};
  StageOrders current = place_weight_passes(unroll(block, num_micro_batches), costs, policy);
  StageOrders best = current;
  double best_span = simulate(best, costs).span;
  const int p = block.placement.num_pipeline_ranks();
  const int num_slots = kNumPasses * block.placement.num_chunks() * num_micro_batches;
  const bool has_goal = num_micro_batches >= 2 * p;
  // Each round lets passes move up by what the round before has freed on neighbouring ranks; p
  // rounds carry a gain across the pipeline. V-Min with p a multiple of 3 needs p/3 of them.
  for (int round = 0; round < p; ++round) {
    if (has_goal && best_span <= num_slots + goal.idle_slots) break;
    StageOrders next = place_weight_passes(
        without_weight_passes(compact(current, goal.max_in_flight)), costs, policy);
    if (next.ranks == current.ranks) break;
    const double span = simulate(next, costs).span;
    if (span < best_span) {
      best = next;
      best_span = span;
    }
    current = std::move(next);
  }
  return best;
}

}  // namespace halfpipe::schedule
