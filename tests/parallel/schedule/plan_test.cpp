// SPDX-License-Identifier: Apache-2.0
// Plans as bytes: the round trip, the digest, and what happens to damaged bytes.
#include "parallel/schedule/plan.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "parallel/schedule/build_plan.h"
#include "parallel/schedule/describe_instruction.h"
#include "parallel/schedule/schedule_error.h"
#include "tests/parallel/schedule/sample_orders.h"

namespace halfpipe::schedule {
namespace {

Plan sample_plan() {
  const StageOrders orders = one_forward_one_backward(4, 6);
  return build_plan(orders, even_costs(orders.placement));
}

TEST(PlanBytes, ComeBackAsTheSamePlan) {
  std::mt19937 random(7);
  for (const Placement& placement :
       {Placement(PlacementKind::kLinear, 3, 1), Placement(PlacementKind::kV, 4, 2),
        Placement(PlacementKind::kInterleaved, 2, 3), Placement(PlacementKind::kV, 1, 2)}) {
    const Plan plan =
        build_plan(random_orders(placement, 5, random), random_costs(placement, random));
    const Plan copy = deserialize(serialize(plan));
    EXPECT_EQ(copy, plan);
    EXPECT_EQ(hash_of(copy), hash_of(plan));
    const Plan forward = build_forward_plan(placement, 5, even_costs(placement));
    EXPECT_EQ(deserialize(serialize(forward)), forward);
  }
}

TEST(PlanBytes, ThatEndEarlyAreRefusedAtEveryLength) {
  const StageOrders orders = one_forward_one_backward(2, 2);
  std::vector<std::byte> bytes = serialize(build_plan(orders, even_costs(orders.placement)));
  while (!bytes.empty()) {
    bytes.pop_back();
    EXPECT_THROW((void)deserialize(bytes), ScheduleError) << bytes.size() << " bytes";
  }
}

TEST(PlanBytes, ThatGoOnAreRefused) {
  std::vector<std::byte> bytes = serialize(sample_plan());
  bytes.push_back(std::byte{0});
  EXPECT_THROW((void)deserialize(bytes), ScheduleError);
}

TEST(PlanBytes, WithOneWrongByteAreRefusedOrGiveAnotherPlan) {
  const StageOrders orders = one_forward_one_backward(2, 2);
  const Plan plan = build_plan(orders, even_costs(orders.placement));
  const std::vector<std::byte> bytes = serialize(plan);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    std::vector<std::byte> damaged = bytes;
    damaged[i] ^= std::byte{0xff};
    try {
      EXPECT_NE(hash_of(deserialize(damaged)), hash_of(plan)) << "byte " << i;
    } catch (const ScheduleError&) {
      // Refused: as good.
    }
  }
}

TEST(PlanHash, ChangesWithEveryField) {
  const Plan plan = sample_plan();
  std::set<std::uint64_t> hashes{hash_of(plan)};
  const auto expect_new = [&](const char* what, auto change) {
    Plan changed = plan;
    change(changed);
    EXPECT_TRUE(hashes.insert(hash_of(changed)).second) << what;
  };
  expect_new("name", [](Plan& p) { p.schedule_name += "x"; });
  expect_new("placement",
             [](Plan& p) { p.placement = Placement(PlacementKind::kInterleaved, 4, 1); });
  expect_new("micro-batches", [](Plan& p) { ++p.num_micro_batches; });
  expect_new("forward_only", [](Plan& p) { p.forward_only = true; });
  expect_new("message bytes", [](Plan& p) { ++p.message_bytes; });
  expect_new("message", [](Plan& p) { ++p.messages[1].sequence; });
  expect_new("instruction", [](Plan& p) { ++p.ranks[1].instructions[3].output_buffer; });
  expect_new("slot", [](Plan& p) { ++p.ranks[1].saved[0].forward_to_backward_weight_offset; });
  expect_new("buffers", [](Plan& p) { ++p.ranks[2].num_message_buffers; });
  expect_new("peak", [](Plan& p) { ++p.ranks[2].peak_activation_bytes; });
  expect_new("arena", [](Plan& p) { ++p.ranks[2].arena_bytes; });
}

TEST(PlanHash, IsTheSameOnEveryMachine) {
  // Golden: changes when the byte format does, and never otherwise.
  const Plan plan{"1f1b", Placement(PlacementKind::kLinear, 1, 1), 2, false, 64, {}, {RankPlan{}}};
  EXPECT_EQ(serialize(plan).size(), 94u);
  EXPECT_EQ(hash_of(plan), 8284387199313623709u);
}

TEST(InstructionText, NamesPassPeerAndMessage) {
  const Plan plan = sample_plan();
  EXPECT_STREQ(name_of(OpKind::kForward), "forward");
  EXPECT_STREQ(name_of(OpKind::kWaitRecv), "wait_recv");
  EXPECT_EQ(describe_at(plan, 0, 2), "rank 0, instruction 2 (forward of stage 0, micro-batch 0)");
  EXPECT_EQ(describe(plan, plan.ranks[0].instructions[0]),
            "post_recv from rank 1 of message " +
                std::to_string(plan.ranks[0].instructions[0].message) +
                " (gradient of stage 1, micro-batch 0)");
}

}  // namespace
}  // namespace halfpipe::schedule
