// SPDX-License-Identifier: Apache-2.0
#include "parallel/schedule/search/improve_named.h"

#include <algorithm>

#include "parallel/schedule/catalogue.h"
#include "parallel/schedule/simulate.h"

namespace halfpipe::schedule {
namespace {

bool are_messages_free(const CostModel& costs, int num_ranks) {
  for (int from = 0; from < num_ranks; ++from) {
    for (int to = 0; to < num_ranks; ++to) {
      if (costs.message_seconds_between(from, to) > 0.0) return false;
    }
  }
  return true;
}

}  // namespace

bool are_equal_costs(const CostModel& costs) {
  const int num_ranks = costs.links.empty() ? 2 : static_cast<int>(costs.links.size());
  const double seconds = costs.stages.empty() ? 0.0 : costs.stages.front().forward_seconds;
  return are_messages_free(costs, num_ranks) &&
         std::ranges::all_of(costs.stages, [&](const StageCost& stage) {
           return stage.forward_seconds == seconds && stage.backward_input_seconds == seconds &&
                  stage.backward_weight_seconds == seconds;
         });
}

std::optional<SearchProblem> improvement_of(const StageOrders& orders,
                                            const CostModel& costs,
                                            Objective objective) {
  if (!is_made_for_equal_costs(orders.name) || are_equal_costs(costs)) return std::nullopt;
  return SearchProblem{orders.placement, orders.num_micro_batches, costs,
                       simulate(orders, costs).peak_activation_bytes, objective};
}

}  // namespace halfpipe::schedule
