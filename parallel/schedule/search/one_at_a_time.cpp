// SPDX-License-Identifier: Apache-2.0
#include "parallel/schedule/search/one_at_a_time.h"

namespace halfpipe::schedule {

StageOrders one_at_a_time_orders(const Placement& placement, int num_micro_batches) {
  StageOrders orders{"one-at-a-time", placement, num_micro_batches, {}};
  orders.ranks.resize(static_cast<std::size_t>(placement.num_pipeline_ranks()));
  const auto add = [&](Pass pass, int stage, int micro_batch) {
    const auto rank = static_cast<std::size_t>(placement.rank_of(stage));
    orders.ranks[rank].push_back({pass, stage, micro_batch});
  };
  for (int micro_batch = 0; micro_batch < num_micro_batches; ++micro_batch) {
    for (int stage = 0; stage < placement.num_stages(); ++stage) {
      add(Pass::kForward, stage, micro_batch);
    }
    for (int stage = placement.num_stages() - 1; stage >= 0; --stage) {
      add(Pass::kBackwardInput, stage, micro_batch);
      add(Pass::kBackwardWeight, stage, micro_batch);
    }
  }
  return orders;
}

}  // namespace halfpipe::schedule
