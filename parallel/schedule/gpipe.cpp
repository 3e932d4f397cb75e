// SPDX-License-Identifier: Apache-2.0
#include "parallel/schedule/gpipe.h"

namespace halfpipe::schedule {

StageOrders gpipe_orders(int num_pipeline_ranks, int num_micro_batches) {
  StageOrders orders{
      "gpipe", Placement(PlacementKind::kLinear, num_pipeline_ranks, 1), num_micro_batches, {}};
  for (int rank = 0; rank < num_pipeline_ranks; ++rank) {
    std::vector<PassOp>& ops = orders.ranks.emplace_back();
    for (int micro_batch = 0; micro_batch < num_micro_batches; ++micro_batch) {
      ops.push_back({Pass::kForward, rank, micro_batch});
    }
    for (int micro_batch = 0; micro_batch < num_micro_batches; ++micro_batch) {
      ops.push_back({Pass::kBackwardInput, rank, micro_batch});
      ops.push_back({Pass::kBackwardWeight, rank, micro_batch});
    }
  }
  return orders;
}

}  // namespace halfpipe::schedule
