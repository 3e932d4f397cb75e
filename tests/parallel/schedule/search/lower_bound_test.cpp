// SPDX-License-Identifier: Apache-2.0
// No schedule may beat the bound: not the best of all on tiny problems, nor a named or random one
// on larger ones. And the bound must not be weaker than it was.
#include "parallel/schedule/search/lower_bound.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "exhaustive_search.h"
#include "parallel/schedule/catalogue.h"
#include "parallel/schedule/schedule_error.h"
#include "parallel/schedule/simulate.h"
#include "random_problem.h"

namespace halfpipe::schedule {
namespace {

/// Seconds of a whole rank per micro-batch; both chunks of a V take half. Memory in half units.
SearchProblem v_problem(int p, int m, std::vector<double> times, double comm, double units) {
  CostModel costs;
  StageCost stage;
  stage.forward_seconds = times[0] / 2;
  stage.backward_input_seconds = times[1] / 2;
  stage.backward_weight_seconds = times[2] / 2;
  costs.stages.assign(static_cast<std::size_t>(2 * p), stage);
  costs.message_seconds = comm;
  return {Placement(PlacementKind::kV, p, 2), m, costs,
          std::vector<std::int64_t>(static_cast<std::size_t>(p), std::llround(2 * units)),
          Objective::kSpan};
}

/// Starts a little above the bound and asks for more until a schedule is found.
double optimum(const SearchProblem& problem, double bound) {
  for (double at_most = 1.02 * bound + 1e-6;; at_most *= 1.1) {
    if (const auto shortest = shortest_schedule(problem, at_most)) return *shortest;
  }
}

std::string text(const SearchProblem& problem) {
  std::string text = "ranks " + std::to_string(problem.placement.num_pipeline_ranks()) +
                     ", chunks " + std::to_string(problem.placement.num_chunks()) + ", kind " +
                     std::to_string(static_cast<int>(problem.placement.kind())) +
                     ", micro-batches " + std::to_string(problem.num_micro_batches) +
                     ", objective " + std::to_string(static_cast<int>(problem.objective)) +
                     ", message " + std::to_string(problem.costs.message_seconds) + ", links " +
                     std::to_string(problem.costs.links.size()) + ", one at a time " +
                     std::to_string(static_cast<int>(problem.costs.one_message_at_a_time));
  for (const StageCost& cost : problem.costs.stages) {
    text += "\n  " + std::to_string(cost.forward_seconds) + " " +
            std::to_string(cost.backward_input_seconds) + " " +
            std::to_string(cost.backward_weight_seconds) + ", bytes " +
            std::to_string(cost.forward_to_backward_input_bytes) + " " +
            std::to_string(cost.forward_to_backward_weight_bytes) + " " +
            std::to_string(cost.backward_input_to_backward_weight_bytes);
  }
  for (const std::int64_t bytes : problem.memory_limit)
    text += "\n  limit " + std::to_string(bytes);
  return text;
}

double measured(const Timeline& timeline, Objective objective) {
  return objective == Objective::kSpan ? timeline.span : timeline.makespan;
}

TEST(LowerBound, OneRankHasNoIdleTime) {
  SearchProblem problem = v_problem(1, 5, {1, 2, 1}, 0.5, 1);
  EXPECT_NEAR(lower_bound(problem).seconds, 20.0, 1e-6);  // up to 1e-9 of the work below
  problem.objective = Objective::kMakespan;
  EXPECT_NEAR(lower_bound(problem).seconds, 20.0, 1e-6);
}

TEST(LowerBound, MeetsKnownOptima) {
  // Uniform V schedules of p = 4 whose optimum an exact solver has proved.
  EXPECT_NEAR(lower_bound(v_problem(4, 8, {1, 1, 1}, 0, 2)).seconds, 29.5, 1e-6);
  EXPECT_NEAR(lower_bound(v_problem(4, 8, {1, 1, 1}, 0, 2.5)).seconds, 28.0, 1e-6);
  EXPECT_NEAR(lower_bound(v_problem(4, 8, {1, 1, 1}, 0, 3)).seconds, 26.5, 1e-6);
  EXPECT_NEAR(lower_bound(v_problem(4, 8, {1, 1, 1}, 0, 4)).seconds, 24.0, 1e-6);
}

struct Family {
  ProblemSizes most;
  int num_problems;
};

class LowerBoundOfTiny : public testing::TestWithParam<Family> {};

TEST_P(LowerBoundOfTiny, NeverBeatsTheBestSchedule) {
  const Family& family = GetParam();
  std::mt19937 random(17);
  int met = 0;
  for (int i = 0; i < family.num_problems; ++i) {
    const SearchProblem problem = random_problem(random, family.most);
    const LowerBound bound = lower_bound(problem);
    const double best = optimum(problem, bound.seconds);
    ASSERT_LE(bound.seconds, best) << bound.reason << "\n" << text(problem);
    if (bound.seconds > best - 1e-6) ++met;
  }
  // It is the optimum itself nearly always; a bound that is merely valid would pass otherwise.
  EXPECT_GT(met, family.num_problems * 85 / 100);
}

INSTANTIATE_TEST_SUITE_P(Schedule,
                         LowerBoundOfTiny,
                         testing::Values(Family{{1, 4, 3}, 500},
                                         Family{{2, 4, 2}, 3000},
                                         Family{{2, 6, 2}, 100},
                                         Family{{2, 4, 3}, 700},
                                         Family{{3, 6, 2}, 500},
                                         Family{{3, 6, 3}, 50}));

TEST(ExhaustiveSearch, IsNotBeatenByRandomOrders) {
  std::mt19937 random(29);
  int met = 0;
  for (int i = 0; i < 300; ++i) {
    SearchProblem problem = random_problem(random, {2, 4, 2});
    const Timeline timeline = simulate(random_orders(random, problem), problem.costs);
    problem.memory_limit = timeline.peak_activation_bytes;
    // A billionth for the order in which seconds are added.
    const double seconds = (1.0 + 1e-9) * measured(timeline, problem.objective);
    const std::optional<double> shortest = shortest_schedule(problem, seconds);
    ASSERT_TRUE(shortest) << text(problem);
    if (*shortest > (1.0 - 1e-8) * seconds) ++met;
  }
  EXPECT_GT(met, 30);  // nor does it find what no order can do: some random ones are as good
}

TEST(LowerBound, NeverBeatsANamedSchedule) {
  for (const std::string_view name : schedule_names()) {
    for (const int p : {1, 2, 3, 4, 7, 8, 12}) {
      for (const int m : {1, 2, 5, 8, 24}) {
        const Placement placement = placement_for(name, p, 2);
        CostModel costs = uniform_costs(placement.num_stages());
        for (const bool equal : {true, false}) {
          if (!equal) {
            for (std::size_t s = 0; s < costs.stages.size(); ++s) {
              costs.stages[s].forward_seconds += 0.25 * static_cast<double>(s % 3);
              costs.stages[s].backward_input_seconds += 0.5 * static_cast<double>(s % 2);
            }
            costs.message_seconds = 0.125;
          }
          const Timeline timeline = simulate(make_orders(name, p, m, 2, costs), costs);
          for (const Objective objective : {Objective::kSpan, Objective::kMakespan}) {
            const LowerBound bound =
                lower_bound({placement, m, costs, timeline.peak_activation_bytes, objective});
            EXPECT_LE(bound.seconds, measured(timeline, objective))
                << name << " p " << p << " m " << m << ": " << bound.reason;
          }
        }
      }
    }
  }
}

TEST(LowerBound, ProvesNamedSchedulesOptimalAtEqualCosts) {
  // With as much memory per rank as they use. At 24 ranks not all ranks are counted any more.
  for (const std::string_view name : {"1f1b", "zb-1p", "zb-2p", "v-min", "v-half", "v-zb"}) {
    for (const int p : {8, 24}) {
      const Placement placement = placement_for(name, p, 2);
      const CostModel costs = uniform_costs(placement.num_stages());
      const int m = 4 * p;
      const Timeline timeline = simulate(make_orders(name, p, m, 2, costs), costs);
      EXPECT_NEAR(
          lower_bound({placement, m, costs, timeline.peak_activation_bytes, Objective::kSpan})
              .seconds,
          timeline.span, 1e-6)  // up to 1e-9 of the work below
          << name << " p " << p;
    }
  }
}

TEST(LowerBound, NeverBeatsARandomOrder) {
  std::mt19937 random(5);
  for (int i = 0; i < 1500; ++i) {
    SearchProblem problem = random_problem(random, {6, 12, 12});
    const Timeline timeline = simulate(random_orders(random, problem), problem.costs);
    problem.memory_limit = timeline.peak_activation_bytes;
    const LowerBound bound = lower_bound(problem);
    ASSERT_LE(bound.seconds, measured(timeline, problem.objective)) << bound.reason << "\n"
                                                                    << text(problem);
  }
}

TEST(LowerBound, FallsWhenMemoryGrows) {
  double last = std::numeric_limits<double>::infinity();
  for (int half_units = 2; half_units <= 20; ++half_units) {
    const double bound =
        lower_bound(v_problem(8, 16, {1, 1.2, 0.8}, 0.05, half_units / 2.0)).seconds;
    EXPECT_LE(bound, last) << half_units;
    last = bound;
  }
}

TEST(LowerBound, IsNotBelowTheFirstBounds) {
  // Bounds of an earlier, weaker argument: p, m, times, comm, units, span that no schedule beats.
  struct Row {
    int p, m;
    std::vector<double> times;
    double comm, units, span;
  };
  const std::vector<Row> rows = {
      {4, 4, {1, 1, 1}, 0, 1.5, 20.5},        {4, 16, {1, 1.2, 0.8}, 0, 1.5, 57.9667},
      {4, 32, {1, 2, 1}, 0, 1.5, 155.6667},   {8, 2, {1, 1, 1}, 0, 4, 17.5},
      {8, 6, {1, 1, 1}, 0, 6.5, 21.5},        {8, 8, {1, 2, 1}, 0, 4, 46},
      {8, 64, {1, 1.2, 0.8}, 0, 2.5, 251.4},  {8, 16, {1, 1, 1}, 0.05, 4, 58.8},
      {16, 16, {1, 1, 1}, 0, 5.5, 80.5},      {16, 32, {1, 1.2, 0.8}, 0.05, 8, 122.7},
      {16, 64, {1, 2, 1}, 0, 8, 284},         {16, 128, {1, 2, 1}, 0, 5.5, 592.6364},
      {16, 128, {1, 1.2, 0.8}, 0, 16, 385.5},
  };
  for (const Row& row : rows) {
    // 1e-4: the figures above are rounded to four places.
    EXPECT_GE(lower_bound(v_problem(row.p, row.m, row.times, row.comm, row.units)).seconds,
              row.span - 1e-4)
        << row.p << " " << row.m << " " << row.units;
  }
}

TEST(SmallestMemoryLimit, LetsOneMicroBatchThroughAndNoLessDoes) {
  std::mt19937 random(3);
  for (int i = 0; i < 300; ++i) {
    SearchProblem problem = random_problem(random, {3, 6, 2});
    problem.memory_limit = smallest_memory_limit(problem.placement, problem.costs);
    EXPECT_TRUE(shortest_schedule(problem, std::numeric_limits<double>::infinity()))
        << text(problem);
    const auto rank =
        static_cast<std::size_t>(draw(random, 0, problem.placement.num_pipeline_ranks() - 1));
    --problem.memory_limit[rank];
    EXPECT_FALSE(shortest_schedule(problem, std::numeric_limits<double>::infinity()))
        << text(problem);
    EXPECT_THROW((void)lower_bound(problem), ScheduleError);
  }
}

TEST(LowerBound, ErrorNamesTheRankItsLimitAndTheSmallest) {
  SearchProblem problem = v_problem(4, 8, {1, 1, 1}, 0, 2);
  problem.memory_limit[2] = 1;
  try {
    (void)lower_bound(problem);
    FAIL() << "no exception";
  } catch (const ScheduleError& error) {
    EXPECT_STREQ(
        error.what(),
        "no schedule fits: the memory limit of rank 2 (1 bytes) is below the smallest that "
        "lets a micro-batch pass (2 bytes)");
  }
}

}  // namespace
}  // namespace halfpipe::schedule
