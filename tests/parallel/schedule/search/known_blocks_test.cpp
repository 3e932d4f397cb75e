// SPDX-License-Identifier: Apache-2.0
// Where a search of the V begins: blocks for any limit, not only for those that have a name.
#include "parallel/schedule/search/known_blocks.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string_view>
#include <vector>

#include "order_properties.h"
#include "parallel/schedule/catalogue.h"
#include "parallel/schedule/search/one_at_a_time.h"
#include "parallel/schedule/simulate.h"

namespace halfpipe::schedule {
namespace {

/// A V of p ranks with equal passes that take 1 and keep one byte, messages of `message`.
SearchProblem v_problem(int p, int m, std::int64_t limit, double message) {
  const Placement placement(PlacementKind::kV, p, 2);
  CostModel costs = uniform_costs(placement.num_stages());
  costs.message_seconds = message;
  return {placement, m, costs, std::vector<std::int64_t>(static_cast<std::size_t>(p), limit)};
}

/// The best that offer_v_blocks finds, with time for all blocks.
OrderSearch with_blocks(const SearchProblem& problem, int num_threads = 1) {
  SearchBudget budget;
  budget.evaluations = 10'000'000;
  OrderSearch search(problem, 0.0, budget);
  search.offer(one_at_a_time_orders(problem.placement, problem.num_micro_batches));
  std::vector<Lane> lanes = make_lanes(budget);
  offer_v_blocks(problem, num_threads, lanes, 1.0, search);
  return search;
}

/// Span of the best schedule of the catalogue that fits.
double best_named(const SearchProblem& problem) {
  double best = std::numeric_limits<double>::infinity();
  const int p = problem.placement.num_pipeline_ranks();
  for (const std::string_view name : {"v-min", "v-half", "v-zb", "1f1b-v"}) {
    const Timeline timeline =
        simulate(make_orders(name, p, problem.num_micro_batches, 2, problem.costs), problem.costs);
    if (timeline.peak_activation_bytes[0] <= problem.memory_limit[0]) {
      best = std::min(best, timeline.span);
    }
  }
  return best;
}

TEST(KnownBlocks, AreBetterThanNamedOnesBetweenTheirLimits) {
  for (const std::int64_t limit : {9, 11, 12, 13, 14}) {  // v-min takes 8, v-half 10, v-zb 16
    const SearchProblem problem = v_problem(8, 32, limit, 0.0);
    const OrderSearch search = with_blocks(problem);
    EXPECT_LT(search.best_cost(), best_named(problem)) << limit;
    const StageOrders orders = search.best("blocks");
    EXPECT_EQ(first_order_violation(orders), "");
    const Timeline timeline = simulate(orders, problem.costs);
    EXPECT_EQ(timeline.span, search.best_cost());
    for (const std::int64_t peak : timeline.peak_activation_bytes) EXPECT_LE(peak, limit);
  }
}

TEST(KnownBlocks, BearMessages) {
  const SearchProblem problem = v_problem(8, 64, 13, 0.1);
  // Named ones idle for 21.8 where these idle for 14.6.
  EXPECT_LT(with_blocks(problem).best_cost(), best_named(problem) - 6.0);
}

TEST(KnownBlocks, AreTheSameOnAnyNumberOfThreads) {
  const SearchProblem problem = v_problem(6, 20, 9, 0.1);
  EXPECT_EQ(with_blocks(problem, 1).best("blocks").ranks,
            with_blocks(problem, 3).best("blocks").ranks);
}

TEST(KnownBlocks, AreForTheVAlone) {
  SearchProblem problem = v_problem(4, 8, 8, 0.0);
  problem.placement = Placement(PlacementKind::kInterleaved, 4, 2);
  const OrderSearch search = with_blocks(problem);
  const Timeline least =
      simulate(one_at_a_time_orders(problem.placement, problem.num_micro_batches), problem.costs);
  EXPECT_EQ(search.best_cost(), least.span);
}

TEST(KnownBlocks, CountMemoryOnTheTightestRank) {
  SearchProblem problem = v_problem(4, 8, 8, 0.0);
  problem.memory_limit[2] = 5;
  EXPECT_EQ(most_in_flight(problem), 5);
  problem.costs.stages[5].backward_input_to_backward_weight_bytes = 1;  // on rank 2
  EXPECT_EQ(most_in_flight(problem), 2);
}

}  // namespace
}  // namespace halfpipe::schedule
