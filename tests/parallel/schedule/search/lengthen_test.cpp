// SPDX-License-Identifier: Apache-2.0
// Long steps from short ones: what is repeated, what becomes of it, and that annealing the two ends
// leaves it alone.
#include "parallel/schedule/search/lengthen.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "order_properties.h"
#include "parallel/schedule/catalogue.h"
#include "parallel/schedule/search/anneal.h"
#include "parallel/schedule/search/lanes.h"
#include "parallel/schedule/search/timetable.h"
#include "random_problem.h"

namespace halfpipe::schedule {
namespace {

constexpr int kNumChunks = 2;  // of interleaved, the only schedule that asks

/// Lifetimes that differ, so that no two orders of F, B and W need the same by chance.
CostModel with_bytes(CostModel costs) {
  for (StageCost& stage : costs.stages) {
    stage.forward_to_backward_input_bytes = 2;
    stage.forward_to_backward_weight_bytes = 3;
    stage.backward_input_to_backward_weight_bytes = 1;
  }
  return costs;
}

CostModel equal_costs(std::string_view name, int p) {
  return with_bytes(uniform_costs(placement_for(name, p, kNumChunks).num_stages()));
}

/// Orders with limits that leave nothing to spare.
struct Step {
  Step(StageOrders all, const CostModel& costs)
      : orders(std::move(all)),
        timeline(simulate(orders, costs)),
        problem{orders.placement, orders.num_micro_batches, costs, timeline.peak_activation_bytes} {
  }

  [[nodiscard]] std::optional<std::vector<int>> windows(int length) const {
    const Instance instance(problem);
    return steady_windows(instance, length, instance.rows_of(orders), timeline);
  }
  [[nodiscard]] SearchProblem longer_problem(int added) const {
    SearchProblem longer = problem;
    longer.num_micro_batches += added;
    return longer;
  }
  [[nodiscard]] RowOrders longer(const std::vector<int>& windows, int length, int added) const {
    const Instance instance(problem);
    return lengthen(instance, instance.rows_of(orders), windows, length,
                    problem.num_micro_batches + added);
  }

  StageOrders orders;
  Timeline timeline;
  SearchProblem problem;
};

Step named_step(std::string_view name, int p, int m) {
  const CostModel costs = equal_costs(name, p);
  return {make_orders(name, p, m, kNumChunks, costs), costs};
}

/// W of every second micro-batch changes places with the F behind it: a steady state of two.
Step alternating_step(int p, int m) {
  const CostModel costs = equal_costs("1f1b", p);
  StageOrders orders = make_orders("1f1b", p, m, kNumChunks, costs);
  for (std::vector<PassOp>& ops : orders.ranks) {
    for (std::size_t i = 0; i + 1 < ops.size(); ++i) {
      if (ops[i].pass != Pass::kBackwardWeight || ops[i].micro_batch % 2 == 0) continue;
      if (ops[i + 1].pass == Pass::kForward) std::swap(ops[i], ops[i + 1]);
    }
  }
  return {orders, costs};
}

/// Two stages on one rank, whose W change places in every second micro-batch: the micro-batches of
/// passes in a row are the same all along.
Step step_of_swapped_rows(int m) {
  StageOrders orders{"swapped rows", {PlacementKind::kV, 1, 2}, m, {{}}};
  for (int i = 0; i < m; ++i) {
    const int first = i % 2;
    for (const auto& [pass, stage] : {std::pair{Pass::kForward, 0},
                                      {Pass::kForward, 1},
                                      {Pass::kBackwardInput, 1},
                                      {Pass::kBackwardInput, 0},
                                      {Pass::kBackwardWeight, first},
                                      {Pass::kBackwardWeight, 1 - first}}) {
      orders.ranks[0].push_back({pass, stage, i});
    }
  }
  return {orders, with_bytes(uniform_costs(2))};
}

// ---- what is repeated ----

TEST(SteadyWindows, BeginWhereHalfOfTheStepIsOver) {
  for (const char* name : {"1f1b", "v-half", "zb-2p"}) {
    const Step step = named_step(name, 4, 60);
    const auto windows = step.windows(1);
    ASSERT_TRUE(windows) << name;
    ASSERT_EQ(windows->size(), 4U);
    for (std::size_t rank = 0; rank < windows->size(); ++rank) {
      const auto place = static_cast<std::size_t>((*windows)[rank]);
      const double micro_batch_seconds = kNumPasses * step.orders.placement.num_chunks();
      EXPECT_NEAR(step.timeline.ranks[rank][place].start, 0.5 * step.timeline.makespan,
                  micro_batch_seconds)
          << name << " on rank " << rank;
    }
  }
}

TEST(SteadyWindows, RunEachPassOfTheRankAndTheNextOnesTheSameLater) {
  const Step step = named_step("v-half", 3, 20);
  for (const int length : {1, 2, 4}) {
    const auto windows = step.windows(length);
    ASSERT_TRUE(windows) << length;
    const int size = length * kNumPasses * 2;
    for (std::size_t rank = 0; rank < windows->size(); ++rank) {
      const std::vector<PassOp>& ops = step.orders.ranks[rank];
      const auto window = ops.begin() + (*windows)[rank];
      ASSERT_GE(window - ops.begin(), size);
      ASSERT_GE(ops.end() - window, 2 * size);
      std::vector<PassOp> runs(window, window + size);
      for (PassOp& op : runs) op.micro_batch += length;
      EXPECT_TRUE(std::equal(runs.begin(), runs.end(), window + size));
      for (PassOp& op : runs) op.micro_batch -= 2 * length;
      EXPECT_TRUE(std::equal(runs.begin(), runs.end(), window - size));
      for (const PassOp& op : runs) {
        EXPECT_EQ(std::count_if(runs.begin(), runs.end(),
                                [&](const PassOp& other) {
                                  return other.pass == op.pass && other.stage == op.stage;
                                }),
                  length);
      }
    }
  }
}

// F0 F1 F2 F3 B0 W0 | F4 B1 W1 | F5 B2 W2 ... on rank 0: with six micro-batches the window in the
// middle has a like one on both sides, with five either side lacks one.
TEST(SteadyWindows, NeedLikeNeighboursOnBothSides) {
  EXPECT_TRUE(named_step("1f1b", 4, 6).windows(1));
  EXPECT_FALSE(named_step("1f1b", 4, 5).windows(1));
}

TEST(SteadyWindows, AreNotThereInStepsAsShortAsTheirPipeline) {
  for (const std::string_view name : schedule_names()) {
    for (int m = 1; m <= 4; ++m) {
      const Step step = named_step(name, 4, m);
      for (const int length : {1, 2, 4}) EXPECT_FALSE(step.windows(length)) << name << ", m=" << m;
    }
  }
}

TEST(SteadyWindows, AreNotThereWhereAllForwardPassesComeFirst) {
  for (const int p : {1, 2, 4}) {
    const Step step = named_step("gpipe", p, 32);
    for (const int length : {1, 2, 4}) EXPECT_FALSE(step.windows(length)) << p;
  }
}

TEST(SteadyWindows, AreNotThereWhereOneRankHasNone) {
  const Step steady = named_step("1f1b", 2, 16);
  ASSERT_TRUE(steady.windows(1));
  StageOrders orders = steady.orders;
  orders.ranks[0] = named_step("gpipe", 2, 16).orders.ranks[0];
  const Step mixed(orders, steady.problem.costs);
  for (const int length : {1, 2, 4}) EXPECT_FALSE(mixed.windows(length));
}

TEST(SteadyWindows, AreAsLongAsOrdersTakeToRepeat) {
  for (const Step& step :
       {alternating_step(4, 20), step_of_swapped_rows(12), named_step("interleaved", 2, 16)}) {
    EXPECT_FALSE(step.windows(1)) << step.orders.name;
    EXPECT_TRUE(step.windows(2)) << step.orders.name;
  }
  const Step step = named_step("interleaved", 4, 32);
  EXPECT_FALSE(step.windows(1));
  EXPECT_FALSE(step.windows(2));
  EXPECT_TRUE(step.windows(4));
}

// ---- what becomes of it ----

void expect_sound(const Step& step, const RowOrders& rows, int added) {
  const SearchProblem problem = step.longer_problem(added);
  const Instance instance(problem);
  const StageOrders orders = instance.orders_of(rows, "longer");
  ASSERT_EQ(first_order_violation(orders), "");
  ASSERT_TRUE(Timetable(instance).load(rows)) << "within the limits of the short step";
  EXPECT_EQ(simulate(orders, problem.costs).peak_activation_bytes,
            step.timeline.peak_activation_bytes);
}

using NameRanksLength = std::tuple<std::string_view, int, int>;

class Lengthen : public ::testing::TestWithParam<NameRanksLength> {};

// At equal costs steady states do not wait, and the named schedules have the same ends for any
// number of micro-batches from some on.
TEST_P(Lengthen, GivesTheOrdersOfTheLongStep) {
  const auto& [name, p, length] = GetParam();
  constexpr int kMicroBatches = 32;
  const Step step = named_step(name, p, kMicroBatches);
  const auto windows = step.windows(length);
  ASSERT_TRUE(windows);
  const CostModel& costs = step.problem.costs;
  for (const int added : {0, length, 7 * length}) {
    const RowOrders rows = step.longer(*windows, length, added);
    expect_sound(step, rows, added);
    const StageOrders orders = Instance(step.longer_problem(added)).orders_of(rows, "longer");
    EXPECT_EQ(orders.ranks, make_orders(name, p, kMicroBatches + added, kNumChunks, costs).ranks);
    const double work = added * kNumPasses * step.orders.placement.num_chunks();
    EXPECT_EQ(simulate(orders, costs).span, step.timeline.span + work);
    EXPECT_EQ(simulate(orders, costs).makespan, step.timeline.makespan + work);
  }
}

INSTANTIATE_TEST_SUITE_P(
    NamedSchedules,
    Lengthen,
    ::testing::Combine(
        ::testing::Values("1f1b", "1f1b-v", "zb-1p", "zb-2p", "v-min", "v-half", "v-zb", "w4"),
        ::testing::Values(1, 2, 3, 4),
        ::testing::Values(1, 2, 4)));

INSTANTIATE_TEST_SUITE_P(GroupsOfMicroBatches,
                         Lengthen,
                         ::testing::Values(NameRanksLength{"interleaved", 2, 2},
                                           NameRanksLength{"interleaved", 2, 4},
                                           NameRanksLength{"interleaved", 4, 4}));

TEST(LengthenedSteps, RepeatTwoMicroBatchesWhereTheyDiffer) {
  const Step step = alternating_step(4, 20);
  const auto windows = step.windows(2);
  ASSERT_TRUE(windows);
  for (const int added : {2, 10}) {
    const RowOrders rows = step.longer(*windows, 2, added);
    expect_sound(step, rows, added);
    EXPECT_EQ(rows,
              Instance(step.longer_problem(added)).rows_of(alternating_step(4, 20 + added).orders));
  }
}

// ---- annealing around it ----

SearchBudget counted(std::int64_t evaluations) {
  SearchBudget budget;
  budget.evaluations = evaluations;
  return budget;
}

/// What annealing makes of `rows`.
RowOrders annealed(const Instance& instance,
                   const RowOrders& rows,
                   const Frozen& frozen,
                   std::uint64_t seed) {
  BudgetShare budget(counted(4000), 1, BudgetShare::Clock::now());
  Random random(seed);
  Timetable timetable(instance);
  EXPECT_TRUE(timetable.load(rows));
  const double before = timetable.cost().weighted();
  anneal(instance, cooling_for(instance.num_ops()), 0.0, 1.0, budget, random, timetable, frozen);
  EXPECT_LE(timetable.cost().weighted(), before);
  return timetable.orders();
}

/// Positions at which the orders differ.
struct Moved {
  int inside = 0;  // of the ranges
  int outside = 0;
};

void count_moved(const RowOrders& before,
                 const RowOrders& after,
                 const Frozen& ranges,
                 Moved& moved) {
  for (std::size_t rank = 0; rank < before.size(); ++rank) {
    const auto& [first, end] = ranges[rank];
    for (int place = 0; place < static_cast<int>(before[rank].size()); ++place) {
      const auto at = static_cast<std::size_t>(place);
      if (before[rank][at] == after[rank][at]) continue;
      ++(place >= first && place < end ? moved.inside : moved.outside);
    }
  }
}

TEST(FrozenPasses, StayAndNothingMovesPastThem) {
  std::mt19937 random(1);
  Moved moved;
  Moved moved_freely;
  for (std::uint64_t seed = 1; seed <= 80; ++seed) {
    SearchProblem problem = random_problem(random, {.ranks = 4, .stages = 8, .micro_batches = 7});
    const StageOrders orders = random_orders(random, problem);
    problem.memory_limit = simulate(orders, problem.costs).peak_activation_bytes;
    for (std::int64_t& limit : problem.memory_limit) limit += draw(random, 0, 3);
    const Instance instance(problem);
    const RowOrders before = instance.rows_of(orders);
    Frozen frozen;
    for (const std::vector<RowOp>& ops : before) {
      const auto size = static_cast<int>(ops.size());
      const int first = draw(random, 0, size - 1);
      frozen.emplace_back(first, draw(random, first + 1, std::min(first + 12, size)));
    }
    const RowOrders after = annealed(instance, before, frozen, seed);
    count_moved(before, after, frozen, moved);
    count_moved(before, annealed(instance, before, {}, seed), frozen, moved_freely);
    for (std::size_t rank = 0; rank < before.size(); ++rank) {
      const auto first = static_cast<std::ptrdiff_t>(frozen[rank].first);
      EXPECT_TRUE(std::is_permutation(before[rank].begin(), before[rank].begin() + first,
                                      after[rank].begin()))
          << "problem " << seed << ", rank " << rank;
    }
  }
  EXPECT_EQ(moved.inside, 0);
  EXPECT_GT(moved.outside, 500);
  EXPECT_GT(moved_freely.inside, 100) << "they would have moved";
}

TEST(FrozenPasses, MayBeAll) {
  std::mt19937 random(2);
  const SearchProblem problem = named_step("v-half", 4, 6).problem;
  const Step step(random_orders(random, problem), problem.costs);
  const Instance instance(step.problem);
  const RowOrders rows = instance.rows_of(step.orders);
  ASSERT_NE(annealed(instance, rows, {}, 1), rows);
  Frozen frozen;
  for (const std::vector<RowOp>& ops : rows) frozen.emplace_back(0, static_cast<int>(ops.size()));
  EXPECT_EQ(annealed(instance, rows, frozen, 1), rows);
}

// As the search of a short step does it: the ends get better, the steady state is still there.
TEST(FrozenPasses, CanBeRepeatedOnceTheEndsAreBetter) {
  int num_better = 0;
  for (const std::string_view name : {"1f1b", "zb-1p", "zb-2p", "v-half", "v-zb"}) {
    const Placement placement = placement_for(name, 4, kNumChunks);
    const CostModel costs = with_bytes(uneven_costs(placement.num_stages()));
    for (std::uint64_t seed = 1; seed <= 4; ++seed) {
      const Step step(make_orders(name, 4, 24, kNumChunks, equal_costs(name, 4)), costs);
      const auto windows = step.windows(1);
      ASSERT_TRUE(windows) << name;
      const int passes = kNumPasses * placement.num_chunks();
      Frozen frozen;
      for (const int window : *windows) {
        frozen.emplace_back(window - 3 * passes, window + 4 * passes);
      }
      const Instance instance(step.problem);
      const RowOrders rows = annealed(instance, instance.rows_of(step.orders), frozen, seed);
      const Step better(instance.orders_of(rows, "better"), costs);
      if (better.timeline.span < step.timeline.span) ++num_better;
      const auto windows_now = better.windows(1);
      ASSERT_TRUE(windows_now) << name << ", seed " << seed;
      expect_sound(better, better.longer(*windows_now, 1, 9), 9);
    }
  }
  EXPECT_GT(num_better, 5);
}

}  // namespace
}  // namespace halfpipe::schedule
