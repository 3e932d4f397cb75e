// SPDX-License-Identifier: Apache-2.0
// Times and memory of small schedules worked out by hand, and orders that cannot run.
#include "parallel/schedule/simulate.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "parallel/schedule/schedule_error.h"

namespace halfpipe::schedule {
namespace {

constexpr Pass kF = Pass::kForward;
constexpr Pass kB = Pass::kBackwardInput;
constexpr Pass kW = Pass::kBackwardWeight;

/// Two ranks, two micro-batches: rank 0 runs both forwards first, rank 1 alternates.
StageOrders two_ranks() {
  return {"two",
          Placement(PlacementKind::kLinear, 2, 1),
          2,
          {{{kF, 0, 0}, {kF, 0, 1}, {kB, 0, 0}, {kW, 0, 0}, {kB, 0, 1}, {kW, 0, 1}},
           {{kF, 1, 0}, {kB, 1, 0}, {kW, 1, 0}, {kF, 1, 1}, {kB, 1, 1}, {kW, 1, 1}}}};
}

double start_of(const Timeline& timeline, const PassOp& op) {
  for (const auto& passes : timeline.ranks) {
    for (const TimedPass& pass : passes) {
      if (pass.op == op) return pass.start;
    }
  }
  ADD_FAILURE() << "pass not in the timeline";
  return -1.0;
}

std::string message_of(const StageOrders& orders, const CostModel& costs) {
  try {
    (void)simulate(orders, costs);
  } catch (const ScheduleError& error) {
    return error.what();
  }
  return "no exception";
}

TEST(Simulate, TimesOfTwoRanks) {
  const Timeline timeline = simulate(two_ranks(), uniform_costs(2));
  EXPECT_EQ(start_of(timeline, {kF, 1, 0}), 1.0);
  EXPECT_EQ(start_of(timeline, {kB, 0, 0}), 3.0);  // after F and B on rank 1
  EXPECT_EQ(start_of(timeline, {kB, 0, 1}), 6.0);  // B of rank 1 ends then
  EXPECT_EQ(timeline.span, 8.0);                   // rank 0: 0 to 8
  EXPECT_EQ(timeline.makespan, 8.0);
  EXPECT_EQ(timeline.bubble_fraction, 1.0 - 6.0 / 8.0);
}

TEST(Simulate, MakespanCountsAllRanksSpanOnlyOne) {
  StageOrders orders = two_ranks();
  // Rank 0 takes its last W long after rank 1 is done; rank 1 starts one pass after rank 0.
  CostModel costs = uniform_costs(2);
  costs.stages[1].backward_weight_seconds = 10.0;
  const Timeline timeline = simulate(orders, costs);
  EXPECT_EQ(timeline.span, 24.0);  // rank 1: 1 to 25
  EXPECT_EQ(timeline.makespan, 25.0);
  EXPECT_EQ(timeline.bubble_fraction, 0.0);
  EXPECT_EQ(timeline.bubble_fraction_makespan, 1.0 - 24.0 / 25.0);
}

TEST(Simulate, MessagesTakeTimeBetweenRanksOnly) {
  CostModel costs = uniform_costs(2);
  costs.message_seconds = 0.5;
  EXPECT_EQ(start_of(simulate(two_ranks(), costs), {kF, 1, 0}), 1.5);

  const StageOrders one_rank{
      "turn",
      Placement(PlacementKind::kV, 1, 2),
      1,
      {{{kF, 0, 0}, {kF, 1, 0}, {kB, 1, 0}, {kB, 0, 0}, {kW, 1, 0}, {kW, 0, 0}}}};
  EXPECT_EQ(simulate(one_rank, costs).makespan, 6.0);
}

/// Links of two ranks with messages of 100 bytes: 0.5 + 100 / 50 = 2.5 s there, 1.5 s back.
CostModel unequal_links() {
  CostModel costs = uniform_costs(2);
  costs.message_seconds = 7.0;  // counts no more
  costs.message_bytes = 100;
  costs.links.assign(2, std::vector<LinkCost>(2));
  costs.links[0][1] = {0.5, 50.0};
  costs.links[1][0] = {0.5, 100.0};
  return costs;
}

TEST(Simulate, MessagesTakeAsLongAsTheirLinks) {
  const Timeline timeline = simulate(two_ranks(), unequal_links());
  // Rank 0 runs both F until 2.
  EXPECT_EQ(start_of(timeline, {kF, 1, 0}), 3.5);  // sent at 1
  EXPECT_EQ(start_of(timeline, {kB, 0, 0}), 7.0);  // after F and B of rank 1, sent at 5.5
  // Rank 1 is busy until 6.5, the second activation has been there since 4.5.
  EXPECT_EQ(start_of(timeline, {kF, 1, 1}), 6.5);
  EXPECT_EQ(start_of(timeline, {kB, 0, 1}), 10.0);  // sent at 8.5
  EXPECT_EQ(timeline.makespan, 12.0);
}

TEST(Simulate, OneMessageAtATimeWaitsForTheBytesBefore) {
  // Rank 0 runs three F at once; a message occupies its link for 4 s, and 1 s of latency is beside
  // that.
  const StageOrders orders{"three",
                           Placement(PlacementKind::kLinear, 2, 1),
                           3,
                           {{{kF, 0, 0},
                             {kF, 0, 1},
                             {kF, 0, 2},
                             {kB, 0, 0},
                             {kW, 0, 0},
                             {kB, 0, 1},
                             {kW, 0, 1},
                             {kB, 0, 2},
                             {kW, 0, 2}},
                            {{kF, 1, 0},
                             {kF, 1, 1},
                             {kF, 1, 2},
                             {kB, 1, 0},
                             {kW, 1, 0},
                             {kB, 1, 1},
                             {kW, 1, 1},
                             {kB, 1, 2},
                             {kW, 1, 2}}}};
  CostModel costs = uniform_costs(2);
  costs.message_bytes = 8;
  costs.links.assign(2, std::vector<LinkCost>(2, {1.0, 2.0}));
  const Timeline free = simulate(orders, costs);
  EXPECT_EQ(start_of(free, {kF, 1, 0}), 6.0);
  EXPECT_EQ(start_of(free, {kF, 1, 1}), 7.0);
  EXPECT_EQ(start_of(free, {kF, 1, 2}), 8.0);

  costs.one_message_at_a_time = true;
  const Timeline busy = simulate(orders, costs);
  EXPECT_EQ(start_of(busy, {kF, 1, 0}), 6.0);   // leaves at 1
  EXPECT_EQ(start_of(busy, {kF, 1, 1}), 10.0);  // leaves at 5, not at 2
  EXPECT_EQ(start_of(busy, {kF, 1, 2}), 14.0);  // leaves at 9, not at 3
  // The way back is a link of its own: the first B ends at 16.
  EXPECT_EQ(start_of(busy, {kB, 0, 0}), 21.0);
}

TEST(Simulate, RefusesLinksOfOtherRanks) {
  CostModel costs = unequal_links();
  costs.links[1].pop_back();
  EXPECT_EQ(message_of(two_ranks(), costs),
            "the cost model must have a link from each of the 2 ranks to each, or no links");
  costs.links.clear();
  costs.one_message_at_a_time = true;
  EXPECT_EQ(message_of(two_ranks(), costs),
            "the cost model has one message at a time on links, but no links");
}

TEST(Simulate, PeakUnitsCountAStageFromForwardToWeight) {
  const Timeline timeline = simulate(two_ranks(), uniform_costs(2));
  EXPECT_EQ(timeline.peak_units, (std::vector<double>{2.0, 1.0}));
}

TEST(Simulate, PeakBytesFollowTheThreeLifetimes) {
  CostModel costs = uniform_costs(2);
  for (StageCost& stage : costs.stages) {
    stage.forward_to_backward_input_bytes = 100;
    stage.forward_to_backward_weight_bytes = 10;
    stage.backward_input_to_backward_weight_bytes = 1;
  }
  // Rank 0: two forwards, 220, and during the first B 221. Rank 1: one micro-batch, 111 during B.
  const Timeline timeline = simulate(two_ranks(), costs);
  EXPECT_EQ(timeline.peak_activation_bytes, (std::vector<std::int64_t>{221, 111}));

  // W held back on rank 1: after B the large part is gone, so the second F adds 110 to 11.
  StageOrders delayed = two_ranks();
  delayed.ranks[1] = {{kF, 1, 0}, {kB, 1, 0}, {kF, 1, 1}, {kB, 1, 1}, {kW, 1, 0}, {kW, 1, 1}};
  EXPECT_EQ(simulate(delayed, costs).peak_activation_bytes[1], 11 + 111);
}

TEST(Simulate, NamesThePassThatWaitsForEver) {
  StageOrders orders = two_ranks();
  std::swap(orders.ranks[0][1], orders.ranks[0][4]);  // B of micro-batch 1 before its F
  EXPECT_EQ(message_of(orders, uniform_costs(2)),
            "the schedule 'two' cannot run: rank 0 waits for ever before the backward_input of "
            "stage 0, micro-batch 1");
}

TEST(Simulate, RefusesRepeatedAndUnknownPasses) {
  StageOrders orders = two_ranks();
  orders.ranks[0].push_back({kW, 0, 1});
  EXPECT_EQ(message_of(orders, uniform_costs(2)),
            "the schedule 'two' runs the backward_weight of stage 0, micro-batch 1 twice");
  orders.ranks[0].back().micro_batch = 2;
  EXPECT_EQ(message_of(orders, uniform_costs(2)),
            "the schedule 'two' has no backward_weight of stage 0, micro-batch 2");
}

TEST(Simulate, RefusesCostsOfAnotherPipeline) {
  EXPECT_EQ(message_of(two_ranks(), uniform_costs(3)),
            "the cost model has 3 stages, the schedule 'two' has 2");
}

}  // namespace
}  // namespace halfpipe::schedule
