// SPDX-License-Identifier: Apache-2.0
// Shifts of single passes against timing everything anew.
#include "parallel/schedule/search/timetable.h"

#include <gtest/gtest.h>

#include <limits>
#include <random>
#include <set>

#include "parallel/schedule/simulate.h"
#include "tests/parallel/schedule/search/random_problem.h"

namespace halfpipe::schedule {
namespace {

/// A problem of some size, and orders that fit its limits with nothing or a little to spare.
struct Case {
  SearchProblem problem;
  StageOrders orders;
};

Case random_case(std::mt19937& random) {
  SearchProblem problem = random_problem(random, {.ranks = 5, .stages = 12, .micro_batches = 7});
  StageOrders orders = random_orders(random, problem);
  problem.memory_limit = simulate(orders, problem.costs).peak_activation_bytes;
  if (draw(random, 0, 1) == 1) {
    for (std::int64_t& limit : problem.memory_limit) limit += draw(random, 0, 3);
  }
  return {problem, orders};
}

TEST(Timetable, TimesAsTheSimulationDoes) {
  std::mt19937 random(1);
  for (int i = 0; i < 200; ++i) {
    Case drawn = random_case(random);
    const Timeline timeline = simulate(drawn.orders, drawn.problem.costs);
    if (drawn.problem.costs.one_message_at_a_time) continue;  // see instance.h
    for (const Objective objective : {Objective::kSpan, Objective::kMakespan}) {
      drawn.problem.objective = objective;
      const Instance instance(drawn.problem);
      Timetable timetable(instance);
      ASSERT_TRUE(timetable.load(instance.rows_of(drawn.orders)));
      const double expected = objective == Objective::kSpan ? timeline.span : timeline.makespan;
      EXPECT_EQ(timetable.cost().worst, expected);  // whole and half seconds: exact
    }
  }
}

TEST(Timetable, AfterShiftsIsAsIfLoadedAnew) {
  std::mt19937 random(2);
  int num_shifts = 0;
  int num_refused = 0;
  for (int i = 0; i < 150; ++i) {
    Case drawn = random_case(random);
    if (draw(random, 0, 1) == 1) drawn.problem.objective = Objective::kMakespan;
    const Instance instance(drawn.problem);
    Timetable timetable(instance);
    ASSERT_TRUE(timetable.load(instance.rows_of(drawn.orders)));
    for (int move = 0; move < 60; ++move) {
      const int rank = draw(random, 0, instance.num_ranks - 1);
      const auto size = static_cast<int>(timetable.orders()[static_cast<std::size_t>(rank)].size());
      const int from = draw(random, 0, size - 1);
      const int to = draw(random, 0, size - 1);
      if (from == to) continue;
      const double ceiling = timetable.cost().weighted() + draw(random, -2, 8);
      const RowOrders before = timetable.orders();
      const TimetableCost cost_before = timetable.cost();
      const bool shifted = timetable.shift(rank, from, to, ceiling);
      (shifted ? num_shifts : num_refused) += 1;
      if (shifted) {
        EXPECT_LE(timetable.cost().weighted(), ceiling);
      } else {
        EXPECT_EQ(timetable.orders(), before);
        EXPECT_EQ(timetable.cost().worst, cost_before.worst);
      }
      Timetable anew(instance);
      ASSERT_TRUE(anew.load(timetable.orders()));
      EXPECT_EQ(timetable.cost().worst, anew.cost().worst);
      EXPECT_EQ(timetable.cost().mean, anew.cost().mean);
      for (const auto& order : timetable.orders()) {
        for (const RowOp op : order) ASSERT_EQ(timetable.start_of(op), anew.start_of(op));
      }
    }
  }
  EXPECT_GT(num_shifts, 500);
  EXPECT_GT(num_refused, 500);
}

// Stages without layers take no time: a circle of their passes delays nothing, and is one all the
// same.
TEST(Timetable, NeverShiftsIntoACircleOfPassesThatTakeNoTime) {
  std::mt19937 random(5);
  int num_shifts = 0;
  for (int i = 0; i < 150; ++i) {
    const int num_ranks = draw(random, 2, 4);
    SearchProblem problem{Placement(PlacementKind::kZigzag, num_ranks, 4), 3, {}, {}};
    problem.costs = uniform_costs(problem.placement.num_stages());
    for (StageCost& stage : problem.costs.stages) {
      if (draw(random, 0, 2) == 0) continue;
      stage.forward_seconds = 0.0;
      stage.backward_input_seconds = 0.0;
      stage.backward_weight_seconds = 0.0;
    }
    problem.memory_limit.assign(static_cast<std::size_t>(num_ranks), 100);
    const Instance instance(problem);
    Timetable timetable(instance);
    ASSERT_TRUE(timetable.load(instance.rows_of(random_orders(random, problem))));
    for (int move = 0; move < 100; ++move) {
      const int rank = draw(random, 0, num_ranks - 1);
      const auto size = static_cast<int>(timetable.orders()[static_cast<std::size_t>(rank)].size());
      const int from = draw(random, 0, size - 1);
      const int to = draw(random, 0, size - 1);
      if (from == to || !timetable.shift(rank, from, to, 1e9)) continue;
      ++num_shifts;
      Timetable anew(instance);
      ASSERT_TRUE(anew.load(timetable.orders())) << "problem " << i << ", move " << move;
    }
  }
  EXPECT_GT(num_shifts, 1000);
}

// The estimate that refuses most shifts at once must let through most of what is allowed, here
// where the ceiling leaves nothing to spare.
TEST(Timetable, TakesMostShiftsThatFitTheCeiling) {
  std::mt19937 random(3);
  int num_possible = 0;
  int num_taken = 0;
  for (int i = 0; i < 150; ++i) {
    const Case drawn = random_case(random);
    const Instance instance(drawn.problem);
    Timetable timetable(instance);
    ASSERT_TRUE(timetable.load(instance.rows_of(drawn.orders)));
    for (int move = 0; move < 40; ++move) {
      const int rank = draw(random, 0, instance.num_ranks - 1);
      RowOrders moved = timetable.orders();
      std::vector<RowOp>& order = moved[static_cast<std::size_t>(rank)];
      const auto at = draw(random, 0, static_cast<int>(order.size()) - 2);
      std::swap(order[static_cast<std::size_t>(at)], order[static_cast<std::size_t>(at) + 1]);
      // Micro-batches, or passes of one micro-batch on one stage, would change places.
      const RowOp one = order[static_cast<std::size_t>(at)];
      const RowOp other = order[static_cast<std::size_t>(at) + 1];
      const bool same_stage = instance.row(one.row).stage == instance.row(other.row).stage;
      if (one.row == other.row || (same_stage && one.micro_batch == other.micro_batch)) continue;
      Timetable anew(instance);
      if (!anew.load(moved)) continue;
      ++num_possible;
      if (timetable.shift(rank, at, at + 1, anew.cost().weighted())) ++num_taken;
    }
  }
  EXPECT_GT(num_possible, 1000);
  EXPECT_GT(num_taken, num_possible * 85 / 100) << "of " << num_possible;
}

TEST(Timetable, TracesTheCriticalPasses) {
  std::mt19937 random(4);
  for (int i = 0; i < 100; ++i) {
    const Case drawn = random_case(random);
    const Instance instance(drawn.problem);
    Timetable timetable(instance);
    ASSERT_TRUE(timetable.load(instance.rows_of(drawn.orders)));
    std::vector<Timetable::Place> path;
    timetable.trace_critical(path);
    ASSERT_FALSE(path.empty());
    double next_start = std::numeric_limits<double>::infinity();
    for (const Timetable::Place& place : path) {
      const RowOp op = timetable.orders()[static_cast<std::size_t>(place.rank)]
                                         [static_cast<std::size_t>(place.position)];
      EXPECT_LE(timetable.start_of(op) + instance.row(op.row).seconds, next_start);
      next_start = timetable.start_of(op);
    }
    EXPECT_EQ(next_start, 0.0) << "it begins with the step";
  }
}

TEST(Timetable, RefusesWhatDoesNotFitOrWaitsInACircle) {
  SearchProblem problem{Placement(PlacementKind::kLinear, 2, 1), 2, uniform_costs(2), {2, 1}};
  const RowOrders fits{{{0, 0}, {0, 1}, {2, 0}, {4, 0}, {2, 1}, {4, 1}},
                       {{1, 0}, {3, 0}, {5, 0}, {1, 1}, {3, 1}, {5, 1}}};
  const Instance instance(problem);
  Timetable timetable(instance);
  EXPECT_TRUE(timetable.load(fits));
  // F of micro-batch 1 before W of micro-batch 0 would need two places on rank 1.
  EXPECT_FALSE(timetable.shift(1, 3, 2, 1e9));
  RowOrders circle = fits;
  std::swap(circle[0][1], circle[0][2]);  // B of micro-batch 0 before F of 1: no harm
  EXPECT_TRUE(timetable.load(circle));
  circle[0] = {{2, 0}, {0, 0}, {0, 1}, {4, 0}, {2, 1}, {4, 1}};
  EXPECT_FALSE(timetable.load(circle));
  problem.memory_limit = {1, 1};
  const Instance tight(problem);
  EXPECT_FALSE(Timetable(tight).load(fits));
}

}  // namespace
}  // namespace halfpipe::schedule
