// SPDX-License-Identifier: Apache-2.0
#include "parallel/schedule/zero_bubble.h"

#include <algorithm>
#include <vector>

#include "parallel/schedule/place_weight_passes.h"

namespace halfpipe::schedule {
namespace {

/// `forwards_per_hop` more forwards than the next rank before the first B, then B and F in turn.
/// One per hop is 1F1B; the way to the last rank and back takes two; slow messages ask for more.
struct Warmup {
  int forwards_per_hop;
  int extra_forwards;  // on all ranks but the last
};

StageOrders forward_and_backward_orders(const std::string& name,
                                        int p,
                                        int num_micro_batches,
                                        int max_in_flight,
                                        const Warmup& warmup) {
  StageOrders orders{name, Placement(PlacementKind::kLinear, p, 1), num_micro_batches, {}};
  for (int rank = 0; rank < p; ++rank) {
    const int hops = p - 1 - rank;
    const int wanted = 1 + warmup.forwards_per_hop * hops + (hops > 0 ? warmup.extra_forwards : 0);
    const int num_warmup = std::min({wanted, max_in_flight, num_micro_batches});
    std::vector<PassOp>& ops = orders.ranks.emplace_back();
    for (int i = 0; i < num_warmup; ++i) ops.push_back({Pass::kForward, rank, i});
    for (int i = 0; i < num_micro_batches; ++i) {
      ops.push_back({Pass::kBackwardInput, rank, i});
      if (num_warmup + i < num_micro_batches) {
        ops.push_back({Pass::kForward, rank, num_warmup + i});
      }
    }
  }
  return orders;
}

}  // namespace

StageOrders zero_bubble_orders(const std::string& name,
                               int num_pipeline_ranks,
                               int num_micro_batches,
                               const CostModel& costs,
                               int max_in_flight) {
  std::vector<StageOrders> candidates;
  for (const int forwards_per_hop : {1, 2, 3}) {
    for (const int extra_forwards : {0, 1}) {
      candidates.push_back(forward_and_backward_orders(name, num_pipeline_ranks, num_micro_batches,
                                                       max_in_flight,
                                                       {forwards_per_hop, extra_forwards}));
    }
  }
  return best_weight_placement(candidates, costs, max_in_flight);
}

}  // namespace halfpipe::schedule
