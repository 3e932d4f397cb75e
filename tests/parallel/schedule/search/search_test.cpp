// SPDX-License-Identifier: Apache-2.0
// The search on problems whose answer is known, and on ones too large to draw at random.
#include "parallel/schedule/search/search.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "parallel/schedule/build_plan.h"
#include "parallel/schedule/search/lower_bound.h"
#include "parallel/schedule/simulate.h"

namespace halfpipe::schedule {
namespace {

/// Seconds of a whole rank per micro-batch.
struct RankTimes {
  double forward = 1.0;
  double backward_input = 1.0;
  double backward_weight = 1.0;
};

/// Stages share the time of their rank out evenly and hold one byte each: a limit of b bytes on
/// num_chunks chunks is b / num_chunks units.
SearchProblem even_problem(const Placement& placement, int m, RankTimes times, std::int64_t bytes) {
  CostModel costs = uniform_costs(placement.num_stages());
  for (StageCost& stage : costs.stages) {
    stage.forward_seconds = times.forward / placement.num_chunks();
    stage.backward_input_seconds = times.backward_input / placement.num_chunks();
    stage.backward_weight_seconds = times.backward_weight / placement.num_chunks();
  }
  const auto ranks = static_cast<std::size_t>(placement.num_pipeline_ranks());
  return {placement, m, costs, std::vector<std::int64_t>(ranks, bytes)};
}

Placement v_placement(int p) {
  return {PlacementKind::kV, p, 2};
}

SearchBudget counted(std::int64_t evaluations) {
  SearchBudget budget;
  budget.evaluations = evaluations;
  return budget;
}

void expect_sound(const SearchResult& result, const SearchProblem& problem) {
  EXPECT_NO_THROW((void)build_plan(result.orders, problem.costs));
  const Timeline timeline = simulate(result.orders, problem.costs);
  EXPECT_EQ(result.cost, timeline.span);
  for (std::size_t rank = 0; rank < problem.memory_limit.size(); ++rank) {
    EXPECT_LE(timeline.peak_activation_bytes[rank], problem.memory_limit[rank]);
  }
}

// Beyond the 24 of work, with equal times on a V of 4 ranks and 8 micro-batches: 11, 8, 5 and 0
// chunk passes at 2, 2.5, 3 and 4 units. Less is impossible (lower_bound_test.cpp, and for 2.5
// units a search over all orders with a solver).
TEST(Search, FindsTheOptimumAtEqualTimes) {
  for (const auto& [bytes, span] : {std::pair{4, 29.5}, {5, 28.0}, {6, 26.5}, {8, 24.0}}) {
    const SearchProblem problem = even_problem(v_placement(4), 8, {}, bytes);
    const SearchResult result = search_schedule({problem}, counted(3000000));
    EXPECT_DOUBLE_EQ(result.cost, span) << bytes << " chunks of memory";
    expect_sound(result, problem);
  }
}

// At 2.5 units and these times a solver over all orders found 29.4 possible and 29.0 impossible.
TEST(Search, ComesNearTheOptimumAtUnequalTimes) {
  const SearchProblem problem = even_problem(v_placement(4), 8, {1.0, 1.2, 0.8}, 5);
  const SearchResult result = search_schedule({problem}, counted(3000000));
  EXPECT_LE(result.cost, 29.8 + 1e-9);  // sums of tenths
  expect_sound(result, problem);
}

TEST(Search, ChoosesTheBetterPlacement) {
  const SearchProblem linear =
      even_problem({PlacementKind::kLinear, 4, 1}, 8, {}, 4);  // 4 units each
  const SearchProblem v = even_problem(v_placement(4), 8, {}, 8);
  EXPECT_EQ(search_schedule({linear, v}, counted(2000)).choice, 1U);
  EXPECT_EQ(search_schedule({v, linear}, counted(2000)).choice, 0U);
}

// From 6000 passes on, policies are tried on fewer micro-batches first.
// Dear stages at both ends of the model meet on rank 0 of a V, and on two ranks where stages go
// round.
TEST(Search, GoesRoundTheRanksWhereAVWouldBeUneven) {
  std::vector<SearchProblem> choices = {
      even_problem(v_placement(4), 16, {}, 11),
      even_problem({PlacementKind::kInterleaved, 4, 2}, 16, {}, 11)};
  for (SearchProblem& problem : choices) {
    for (const std::size_t dear : {0, 1, 6, 7}) {
      problem.costs.stages[dear] = {1.5, 1.5, 1.5, 0, 1, 0};
    }
  }
  const SearchResult result = search_schedule(choices, counted(20000));
  EXPECT_EQ(result.choice, 1u);
  // The work of rank 0 of the V alone is 144.
  EXPECT_LT(result.cost, 115.0);
  expect_sound(result, choices[1]);
}

// Found out on several threads, said on one.
TEST(Search, RefusesLinksOfOtherRanksOnAnyNumberOfThreads) {
  for (const int num_threads : {1, 3}) {
    std::vector<SearchProblem> choices(3, even_problem(v_placement(4), 8, {}, 8));
    for (SearchProblem& problem : choices) problem.costs.links.assign(2, std::vector<LinkCost>(2));
    SearchBudget budget = counted(1000);
    budget.num_threads = num_threads;
    EXPECT_THROW((void)search_schedule(choices, budget), ScheduleError) << num_threads;
  }
}

// Passes that a sum over the step loses to rounding can wait for one another in a circle without
// ever growing later: a search that followed it would never end.
TEST(Search, EndsWherePassesAreLostToRounding) {
  const SearchProblem problem = even_problem(v_placement(4), 8, {1e11, 1e-9, 1e-9}, 8);
  expect_sound(search_schedule({problem}, counted(2000)), problem);
}

TEST(Search, FindsGoodOrdersOfManyPasses) {
  const SearchProblem problem = even_problem(v_placement(4), 300, {1.0, 1.2, 0.8}, 6);
  const SearchResult first = search_schedule({problem}, counted(4000));
  expect_sound(first, problem);
  const double work = 900.0;
  EXPECT_LT(1.0 - work / first.cost, 0.02);
  SearchBudget threads = counted(4000);
  threads.num_threads = 2;
  EXPECT_EQ(search_schedule({problem}, threads).orders.ranks, first.orders.ranks);
}

TEST(Search, EndsWhenItsTimeIsUp) {
  SearchProblem problem = even_problem(v_placement(5), 12, {1.0, 1.3, 0.9}, 5);
  const LinkCost link{0.05, 10.0};
  problem.costs.links.assign(5, std::vector<LinkCost>(5, link));
  problem.costs.message_bytes = 1;
  for (const bool one_message_at_a_time : {false, true}) {
    problem.costs.one_message_at_a_time = one_message_at_a_time;
    for (const double seconds : {0.0, 0.05}) {
      SearchBudget budget;
      budget.seconds = seconds;
      budget.num_threads = 2;
      expect_sound(search_schedule({problem}, budget), problem);
    }
  }
}

}  // namespace
}  // namespace halfpipe::schedule
