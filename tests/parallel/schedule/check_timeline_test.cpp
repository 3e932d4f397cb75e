// SPDX-License-Identifier: Apache-2.0
// A timeline that claims what is not so is refused, rule by rule.
#include "parallel/schedule/check_timeline.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <utility>

#include "order_properties.h"
#include "parallel/schedule/catalogue.h"

namespace halfpipe::schedule {
namespace {

constexpr int kRanks = 3;
constexpr int kMicroBatches = 7;

const Placement& placement() {
  static const Placement v = placement_for("v-half", kRanks, 2);
  return v;
}

CostModel costs() {
  CostModel model = uneven_costs(placement().num_stages());
  for (StageCost& stage : model.stages) stage.forward_to_backward_input_bytes = 3;
  return model;
}

Timeline v_half() {
  return simulate(make_orders("v-half", kRanks, kMicroBatches, 2, costs()), costs());
}

std::string violation(const Timeline& timeline, const CostModel& model) {
  return first_violation(timeline, placement(), kMicroBatches, model).value_or("");
}

/// The message about v_half() after a change to it.
std::string after(const std::function<void(Timeline&)>& change) {
  Timeline timeline = v_half();
  change(timeline);
  return violation(timeline, costs());
}

TEST(CheckTimeline, AcceptsEveryNamedSchedule) {
  for (const std::string_view name : schedule_names()) {
    for (const int p : {1, 2, 5}) {
      for (const int m : {1, 4, 11}) {
        const Placement where = placement_for(name, p, 2);
        CostModel model = uneven_costs(where.num_stages());
        const auto num_ranks = static_cast<std::size_t>(p);
        for (const bool one_at_a_time : {false, true}) {
          model.message_bytes = 10;
          model.links.assign(num_ranks, std::vector<LinkCost>(num_ranks, {0.1, 5.0}));
          model.one_message_at_a_time = one_at_a_time;
          const Timeline timeline = simulate(make_orders(name, p, m, 2, model), model);
          EXPECT_EQ(first_violation(timeline, where, m, model), std::nullopt)
              << name << " p " << p << " m " << m;
        }
      }
    }
  }
}

TEST(CheckTimeline, EveryPassRunsOnceOnItsRankInOrder) {
  EXPECT_EQ(after([](Timeline& t) { t.ranks[1].pop_back(); }), "1 of 126 passes do not run");
  EXPECT_EQ(after([](Timeline& t) { t.ranks.pop_back(); }), "the timeline has 2 ranks");
  EXPECT_EQ(after([](Timeline& t) { t.ranks[2][0].op.micro_batch = kMicroBatches; }),
            "rank 2: forward of stage 2, micro-batch 7: there is no such pass");
  EXPECT_EQ(after([](Timeline& t) { t.ranks[2].push_back(t.ranks[2].front()); }),
            "rank 2: forward of stage 2, micro-batch 0: runs a second time");
  EXPECT_EQ(after([](Timeline& t) { t.ranks[0].insert(t.ranks[0].begin(), t.ranks[1].front()); }),
            "rank 0: forward of stage 1, micro-batch 0: rank 1 hosts the stage");
  EXPECT_EQ(after([](Timeline& t) { std::swap(t.ranks[0][0].op, t.ranks[0][1].op); }),
            "rank 0: forward of stage 0, micro-batch 1: not in micro-batch order");
}

TEST(CheckTimeline, EveryPassTakesItsTimeAlone) {
  EXPECT_EQ(after([](Timeline& t) { t.ranks[0][0].end -= 0.25; }),
            "rank 0: forward of stage 0, micro-batch 0: takes 0.750000, it costs 1.000000");
  EXPECT_EQ(after([](Timeline& t) {
              t.ranks[0][1].start -= 0.5;
              t.ranks[0][1].end -= 0.5;
            }),
            "rank 0: forward of stage 0, micro-batch 1: starts before the pass in front ends");
}

TEST(CheckTimeline, NoPassStartsBeforeItsInputs) {
  const auto advance_all = [](std::size_t rank) {
    return [rank](Timeline& t) {
      for (TimedPass& timed : t.ranks[rank]) {
        timed.start -= 0.01;
        timed.end -= 0.01;
      }
    };
  };
  EXPECT_EQ(after(advance_all(1)),
            "rank 1: forward of stage 1, micro-batch 0: starts before its input arrives");
  // Messages that take longer than the timeline has them take.
  CostModel slower = costs();
  slower.message_seconds += 0.01;
  EXPECT_NE(violation(v_half(), slower).find("starts before its input arrives"), std::string::npos);
  EXPECT_EQ(after([](Timeline& t) {
              const TimedPass last = t.ranks[0].back();  // a W, and the B right in front of it
              TimedPass& before = t.ranks[0][t.ranks[0].size() - 2];
              ASSERT_EQ(last.op.pass, Pass::kBackwardWeight);
              ASSERT_EQ(before.op.pass, Pass::kBackwardInput);
              ASSERT_EQ(before.op.stage, last.op.stage);
              const double seconds = last.end - last.start;
              t.ranks[0].back() = {before.op, before.start + seconds, last.end};
              before = {last.op, before.start, before.start + seconds};
            }),
            "rank 0: backward_weight of stage 0, micro-batch 6: starts before the backward_input "
            "of stage 0, micro-batch 6 ends");
}

TEST(CheckTimeline, FiguresAreThoseOfThePasses) {
  const Timeline right = v_half();
  EXPECT_EQ(after([](Timeline& t) { t.span -= 1.0; }), "the span is " + std::to_string(right.span));
  EXPECT_EQ(after([](Timeline& t) { t.makespan += 1.0; }),
            "the makespan is " + std::to_string(right.makespan));
  EXPECT_EQ(
      after([](Timeline& t) { --t.peak_activation_bytes[1]; }),
      "rank 1 keeps " + std::to_string(right.peak_activation_bytes[1]) + " bytes at its peak");
  EXPECT_EQ(after([](Timeline& t) { t.peak_units[2] = 1.0; }),
            "rank 2 keeps " + std::to_string(static_cast<int>(2 * right.peak_units[2])) +
                " stage activations at its peak");
}

}  // namespace
}  // namespace halfpipe::schedule
