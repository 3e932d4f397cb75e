// SPDX-License-Identifier: Apache-2.0
#include "parallel/schedule/search/known_orders.h"

#include <cstdint>
#include <utility>

#include "parallel/schedule/catalogue.h"
#include "parallel/schedule/place_weight_passes.h"
#include "parallel/schedule/schedule_error.h"
#include "parallel/schedule/search/known_blocks.h"
#include "parallel/schedule/search/one_at_a_time.h"

namespace halfpipe::schedule {

std::vector<std::string_view> known_names(const SearchProblem& problem) {
  std::vector<std::string_view> names;
  const Placement& placement = problem.placement;
  for (const std::string_view name : schedule_names()) {
    if (placement_for(name, placement.num_pipeline_ranks(), placement.num_chunks()) == placement) {
      names.push_back(name);
    }
  }
  return names;
}

std::vector<StageOrders> known_orders(const SearchProblem& problem, std::string_view name) {
  const Placement& placement = problem.placement;
  std::vector<StageOrders> all;
  all.push_back(make_orders(name, placement.num_pipeline_ranks(), problem.num_micro_batches,
                            placement.num_chunks(), problem.costs));
  constexpr std::int64_t kManyPasses = 8000;  // takes a while
  if (std::int64_t{kNumPasses} * placement.num_stages() * problem.num_micro_batches > kManyPasses) {
    return all;
  }
  try {
    all.push_back(best_weight_placement({without_weight_passes(all.front())}, problem.costs,
                                        most_in_flight(problem)));
  } catch (const ScheduleError&) {
    return all;  // it does not fit
  }
  return all;
}

void offer_known_orders(const SearchProblem& problem, OrderSearch& search) {
  for (const std::string_view name : known_names(problem)) {
    for (const StageOrders& orders : known_orders(problem, name)) search.offer(orders);
  }
  search.offer(one_at_a_time_orders(problem.placement, problem.num_micro_batches));
}

}  // namespace halfpipe::schedule
