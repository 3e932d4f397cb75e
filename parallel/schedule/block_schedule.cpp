// SPDX-License-Identifier: Apache-2.0
#include "parallel/schedule/block_schedule.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "parallel/schedule/compact.h"
#include "parallel/schedule/place_weight_passes.h"
#include "parallel/schedule/simulate.h"

namespace halfpipe::schedule {
namespace {

bool has_weight_passes(const BuildingBlock& block) {
  return std::any_of(block.slots.begin(), block.slots.end(),
                     [](const Slot& slot) { return slot.pass == Pass::kBackwardWeight; });
}

StageOrders with_unsplit_backward(const StageOrders& orders) {
  StageOrders unsplit{orders.name, orders.placement, orders.num_micro_batches, {}};
  for (const std::vector<PassOp>& ops : orders.ranks) {
    std::vector<PassOp>& written = unsplit.ranks.emplace_back();
    for (const PassOp& op : ops) {
      written.push_back(op);
      if (op.pass != Pass::kBackwardInput) continue;
      written.push_back({Pass::kBackwardWeight, op.stage, op.micro_batch});
    }
  }
  return unsplit;
}

}  // namespace

StageOrders block_schedule(const BuildingBlock& block,
                           int num_micro_batches,
                           const BlockGoal& goal) {
  CostModel costs = uniform_costs(block.placement.num_stages());
  costs.message_seconds = goal.message_slots;
  const WeightPassPolicy policy{.max_in_flight = goal.max_in_flight};
  const bool unsplit = has_weight_passes(block);
  const auto with_weight_passes_again = [&](StageOrders orders) {
    orders = without_weight_passes(std::move(orders));
    return unsplit ? with_unsplit_backward(orders) : place_weight_passes(orders, costs, policy);
  };
  StageOrders current = with_weight_passes_again(unroll(block, num_micro_batches));
  StageOrders best = current;
  double best_span = simulate(best, costs).span;
  const int p = block.placement.num_pipeline_ranks();
  const int num_slots = kNumPasses * block.placement.num_chunks() * num_micro_batches;
  const bool has_goal = num_micro_batches >= 2 * p;
  // Each round lets passes move up by what the round before has freed on neighbouring ranks; p
  // rounds carry a gain across the pipeline. V-Min with p a multiple of 3 needs p/3 of them.
  for (int round = 0; round < p; ++round) {
    if (has_goal && best_span <= num_slots + goal.idle_slots) break;
    StageOrders next = with_weight_passes_again(compact(current, goal.max_in_flight));
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
