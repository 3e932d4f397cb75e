// SPDX-License-Identifier: Apache-2.0
// The search of a long step by way of a short one.
#include "parallel/schedule/search/short_step.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "order_properties.h"
#include "parallel/schedule/search/known_orders.h"
#include "parallel/schedule/search/lanes.h"
#include "parallel/schedule/search/order_search.h"
#include "parallel/schedule/simulate.h"

namespace halfpipe::schedule {
namespace {

SearchBudget counted(std::int64_t evaluations) {
  SearchBudget budget;
  budget.evaluations = evaluations;
  return budget;
}

/// Unequal times, and room for that many bytes on each rank; a stage takes one.
SearchProblem long_problem(const Placement& placement, int m, std::int64_t bytes) {
  CostModel costs = uniform_costs(placement.num_stages());
  for (StageCost& stage : costs.stages) {
    stage.backward_input_seconds = 1.25;  // eighths, whose sums are exact
    stage.backward_weight_seconds = 0.75;
  }
  costs.message_seconds = 0.125;
  const auto ranks = static_cast<std::size_t>(placement.num_pipeline_ranks());
  return {placement, m, costs, std::vector<std::int64_t>(ranks, bytes)};
}

SearchProblem v_problem() {
  return long_problem({PlacementKind::kV, 4, 2}, 33, 5);
}

SearchProblem problem_of_links() {
  SearchProblem problem = long_problem({PlacementKind::kV, 3, 2}, 26, 5);
  problem.costs.links.assign(3, std::vector<LinkCost>(3, {0.125, 4.0}));
  problem.costs.message_bytes = 1;
  problem.costs.one_message_at_a_time = true;
  return problem;
}

std::vector<SearchProblem> long_problems() {
  return {v_problem(),
          problem_of_links(),
          long_problem({PlacementKind::kLinear, 4, 1}, 40, 4),
          long_problem({PlacementKind::kLinear, 3, 1}, 30, 1),  // one micro-batch at a time
          long_problem({PlacementKind::kV, 3, 2}, 38, 12),
          long_problem({PlacementKind::kInterleaved, 2, 2}, 19, 6),
          long_problem({PlacementKind::kZigzag, 2, 4}, 24, 9)};
}

void expect_sound(const OrderSearch& search, const SearchProblem& problem) {
  const StageOrders best = search.best("best");
  ASSERT_EQ(first_order_violation(best), "");
  const Timeline timeline = simulate(best, problem.costs);
  EXPECT_EQ(cost_of(timeline, problem.objective), search.best_cost());
  for (std::size_t rank = 0; rank < problem.memory_limit.size(); ++rank) {
    EXPECT_LE(timeline.peak_activation_bytes[rank], problem.memory_limit[rank]);
  }
}

TEST(ShortStep, IsForLongSteps) {
  for (const int p : {2, 3, 4, 5, 8, 10}) {
    SearchProblem problem = long_problem({PlacementKind::kLinear, p, 1}, 1, p);
    for (int m = 1; m <= 8 * p; ++m) {
      problem.num_micro_batches = m;
      EXPECT_EQ(is_long_step(problem), m > 6 * p) << p << " ranks, m=" << m;
    }
  }
}

// A short step with as many micro-batches as the whole one has nothing to repeat.
TEST(ShortStep, LeavesOtherStepsAlone) {
  for (const int m : {1, 3, 6, 11}) {
    const SearchProblem problem = long_problem({PlacementKind::kLinear, 4, 1}, m, 4);
    OrderSearch search(problem, 0.0, counted(2000));
    std::vector<Lane> lanes = make_lanes(counted(2000));
    improve_by_short_step(problem, counted(2000), lanes, 1.0, search);
    EXPECT_FALSE(search.found()) << "m=" << m;
  }
}

TEST(ShortStep, NeverMakesASearchWorse) {
  int num_better = 0;
  for (SearchProblem problem : long_problems()) {
    ASSERT_TRUE(is_long_step(problem));
    for (const Objective objective : {Objective::kSpan, Objective::kMakespan}) {
      problem.objective = objective;
      for (const std::int64_t evaluations : {1, 2000, 40000}) {
        const SearchBudget budget = counted(evaluations);
        std::vector<Lane> lanes = make_lanes(budget);
        OrderSearch search(problem, 0.0, budget);
        offer_known_orders(problem, search);
        const double before = search.best_cost();
        improve_by_short_step(problem, budget, lanes, 0.6, search);
        EXPECT_LE(search.best_cost(), before);
        if (search.best_cost() < before) ++num_better;
        expect_sound(search, problem);
      }
    }
  }
  EXPECT_GT(num_better, 7) << "of 42";
}

TEST(ShortStep, FindsMuchBetterOrdersByItself) {
  const SearchProblem problem = v_problem();
  const SearchBudget budget = counted(40000);
  OrderSearch named(problem, 0.0, budget);
  offer_known_orders(problem, named);
  OrderSearch search(problem, 0.0, budget);
  std::vector<Lane> lanes = make_lanes(budget);
  improve_by_short_step(problem, budget, lanes, 1.0, search);
  ASSERT_TRUE(search.found());
  expect_sound(search, problem);
  EXPECT_LT(search.best_cost(), 0.95 * named.best_cost());
}

// Orders of policies, better for the short step but without a steady state, must not push those out
// that have one.
TEST(ShortStep, FindsNoLessWithMoreToSpend) {
  const SearchProblem problem = long_problem({PlacementKind::kV, 4, 2}, 40, 5);
  double before = 0.0;
  for (const std::int64_t evaluations : {2000, 100000, 400000}) {
    OrderSearch search(problem, 0.0, counted(evaluations));
    std::vector<Lane> lanes = make_lanes(counted(evaluations));
    improve_by_short_step(problem, counted(evaluations), lanes, 1.0, search);
    ASSERT_TRUE(search.found()) << evaluations;
    if (before > 0.0) {
      EXPECT_LE(search.best_cost(), before) << evaluations;
    }
    before = search.best_cost();
  }
}

TEST(ShortStep, FindsTheSameOnAnyNumberOfThreads) {
  const SearchProblem problem = v_problem();
  std::vector<StageOrders> found;
  for (const int num_threads : {1, 3}) {
    SearchBudget budget = counted(8000);
    budget.num_threads = num_threads;
    OrderSearch search(problem, 0.0, budget);
    std::vector<Lane> lanes = make_lanes(budget);
    improve_by_short_step(problem, budget, lanes, 1.0, search);
    ASSERT_TRUE(search.found());
    found.push_back(search.best("best"));
  }
  EXPECT_EQ(found[0].ranks, found[1].ranks);
}

}  // namespace
}  // namespace halfpipe::schedule
