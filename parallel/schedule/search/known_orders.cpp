// SPDX-License-Identifier: Apache-2.0
#include "parallel/schedule/search/known_orders.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string_view>
#include <utility>

#include "parallel/schedule/block_schedule.h"
#include "parallel/schedule/blocks.h"
#include "parallel/schedule/catalogue.h"
#include "parallel/schedule/place_weight_passes.h"
#include "parallel/schedule/schedule_error.h"
#include "parallel/schedule/search/instance.h"
#include "parallel/schedule/search/one_at_a_time.h"

namespace halfpipe::schedule {
namespace {

/// Most stage activations that any rank may hold by its limit.
int most_in_flight(const SearchProblem& problem) {
  std::int64_t most = std::numeric_limits<int>::max();
  for (int stage = 0; stage < problem.placement.num_stages(); ++stage) {
    const StageCost& cost = problem.costs.stages[static_cast<std::size_t>(stage)];
    const std::int64_t bytes = cost.forward_to_backward_input_bytes +
                               cost.forward_to_backward_weight_bytes +
                               cost.backward_input_to_backward_weight_bytes;
    const auto rank = static_cast<std::size_t>(problem.placement.rank_of(stage));
    if (bytes > 0) most = std::min(most, problem.memory_limit[rank] / bytes);
  }
  return static_cast<int>(most);
}

/// The F and B of a named schedule, with W passes where real times leave waits.
void offer_with_other_weight_passes(const SearchProblem& problem,
                                    StageOrders orders,
                                    OrderSearch& search) {
  constexpr std::size_t kManyOps = 8000;  // takes a while
  if (search.num_ops() > kManyOps) return;
  try {
    search.offer(best_weight_placement({without_weight_passes(std::move(orders))}, problem.costs,
                                       most_in_flight(problem)));
  } catch (const ScheduleError&) {
    return;  // it does not fit
  }
}

/// V-Min and V-Half once more, with orders that bear messages: named ones are made for free ones.
void offer_blocks(const SearchProblem& problem, const Instance& instance, OrderSearch& search) {
  constexpr std::size_t kManyOps = 8000;  // takes a while
  const Placement& placement = problem.placement;
  if (placement.kind() != PlacementKind::kV || instance.num_ops() > kManyOps) return;
  const int p = placement.num_pipeline_ranks();
  const int limit = most_in_flight(problem);
  double message = 0.0;
  for (const Row& row : instance.rows) message = std::max(message, row.input_delay);
  const double slots = message / instance.mean_pass_seconds;
  for (const BuildingBlock& block : {v_min_block(p), v_half_block(p)}) {
    if (predicted_peak(with_weight_passes(block)) > limit) continue;
    for (const double message_slots : {0.02, slots, 2.0 * slots}) {
      if (message_slots == 0.0) break;
      search.offer(block_schedule(block, problem.num_micro_batches, {limit, 0, message_slots}));
    }
  }
}

}  // namespace

void offer_known_orders(const SearchProblem& problem, OrderSearch& search) {
  const int p = problem.placement.num_pipeline_ranks();
  const int num_chunks = problem.placement.num_chunks();
  for (const std::string_view name : schedule_names()) {
    if (placement_for(name, p, num_chunks) != problem.placement) continue;
    StageOrders orders = make_orders(name, p, problem.num_micro_batches, num_chunks, problem.costs);
    search.offer(orders);
    offer_with_other_weight_passes(problem, std::move(orders), search);
  }
  offer_blocks(problem, Instance(problem), search);
  search.offer(one_at_a_time_orders(problem.placement, problem.num_micro_batches));
}

}  // namespace halfpipe::schedule
