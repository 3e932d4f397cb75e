// SPDX-License-Identifier: Apache-2.0
// Mutations: a valid plan is broken in one way, and the validator must say in which.
#include "parallel/schedule/validate.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "parallel/schedule/build_plan.h"
#include "parallel/schedule/schedule_error.h"
#include "tests/parallel/schedule/sample_orders.h"

namespace halfpipe::schedule {
namespace {

using enum OpKind;
using Program = std::vector<Instruction>;

/// The n-th instruction of this kind.
Program::iterator find(Program& program, OpKind kind, int n = 0) {
  for (auto it = program.begin(); it != program.end(); ++it) {
    if (it->kind == kind && n-- == 0) return it;
  }
  throw std::out_of_range("the plan has too few instructions of this kind");
}

/// Takes an instruction out and puts it behind the one that stands at `after` before the move.
void move_behind(Program::iterator which, Program::iterator after) {
  if (which < after) {
    std::rotate(which, which + 1, after + 1);
  } else {
    std::rotate(after + 1, which, which + 1);
  }
}

struct Mutation {
  const char* name;
  std::function<void(Plan&)> apply;
  std::vector<std::string> words;  // all of them must stand in the violation
};

std::ostream& operator<<(std::ostream& out, const Mutation& mutation) {
  return out << mutation.name;
}

/// 1F1B on four ranks with six micro-batches.
class LinearPlan : public ::testing::TestWithParam<Mutation> {};

TEST_P(LinearPlan, BrokenInOneWayIsRefusedInWords) {
  const StageOrders orders = one_forward_one_backward(4, 6);
  const CostModel costs = even_costs(orders.placement);
  Plan plan = build_plan(orders, costs);
  ASSERT_EQ(first_violation(plan, costs), std::nullopt);
  GetParam().apply(plan);
  const std::optional<std::string> violation = first_violation(plan, costs);
  ASSERT_TRUE(violation);
  for (const std::string& word : GetParam().words) {
    EXPECT_NE(violation->find(word), std::string::npos) << *violation << "\nlacks: " << word;
  }
  EXPECT_THROW(validate(plan, costs), ScheduleError);
}

Program& of(Plan& plan, std::size_t rank) {
  return plan.ranks[rank].instructions;
}

std::string name_mutation(const ::testing::TestParamInfo<Mutation>& info) {
  return info.param.name;
}

INSTANTIATE_TEST_SUITE_P(
    Ranges,
    LinearPlan,
    ::testing::Values(
        Mutation{"RankMissing", [](Plan& p) { p.ranks.pop_back(); }, {"3 programs for 4 ranks"}},
        Mutation{"NoMicroBatches", [](Plan& p) { p.num_micro_batches = 0; }, {"no micro-batches"}},
        Mutation{"MessageUnknown",
                 [](Plan& p) { find(of(p, 1), kSend)->message = 999; },
                 {"rank 1", "send", "message that does not exist"}},
        Mutation{"BufferUnknown",
                 [](Plan& p) { find(of(p, 1), kSend)->input_buffer = 99; },
                 {"rank 1", "message buffer that does not exist"}},
        Mutation{"StageUnknown",
                 [](Plan& p) { find(of(p, 2), kForward)->stage = 4; },
                 {"rank 2", "stage or micro-batch that does not exist"}},
        Mutation{"MicroBatchUnknown",
                 [](Plan& p) { find(of(p, 2), kForward)->micro_batch = -1; },
                 {"rank 2", "stage or micro-batch that does not exist"}},
        Mutation{"SlotUnknown",
                 [](Plan& p) { find(of(p, 2), kForward)->saved_slot = 6; },
                 {"rank 2", "saved slot that does not exist"}}),
    name_mutation);

INSTANTIATE_TEST_SUITE_P(
    Passes,
    LinearPlan,
    ::testing::Values(
        Mutation{"PassMissing",
                 [](Plan& p) { of(p, 0).erase(find(of(p, 0), kBackwardWeight, 5)); },
                 {"rank 0 never runs backward_weight of stage 0, micro-batch 5"}},
        Mutation{"PassTwice",
                 [](Plan& p) { of(p, 0).push_back(*find(of(p, 0), kBackwardWeight, 5)); },
                 {"backward_weight of stage 0, micro-batch 5", "a second time"}},
        Mutation{"PassOnTheWrongRank",
                 [](Plan& p) { find(of(p, 0), kForward)->stage = 1; },
                 {"rank 0", "hosted by rank 1"}},
        Mutation{"ChunkWrong",
                 [](Plan& p) { find(of(p, 0), kForward)->chunk = 1; },
                 {"rank 0", "chunk 1 is not the stage's"}},
        Mutation{"WeightBeforeInput",
                 [](Plan& p) {
                   std::iter_swap(find(of(p, 3), kBackwardInput, 2),
                                  find(of(p, 3), kBackwardWeight, 2));
                 },
                 {"rank 3", "backward_weight of stage 3, micro-batch 2",
                  "before the backward_input of the same micro-batch"}},
        Mutation{"BackwardBeforeForward",
                 [](Plan& p) {
                   std::iter_swap(find(of(p, 3), kForward, 1), find(of(p, 3), kBackwardInput, 1));
                 },
                 {"rank 3", "before the forward of the same micro-batch"}},
        Mutation{"WeightsOutOfMicroBatchOrder",
                 [](Plan& p) {
                   std::iter_swap(find(of(p, 2), kBackwardWeight, 1),
                                  find(of(p, 2), kBackwardWeight, 2));
                 },
                 {"rank 2", "backward_weight of stage 2, micro-batch 2",
                  "out of micro-batch order, micro-batch 1 comes next"}},
        Mutation{"ForwardsOutOfMicroBatchOrder",
                 [](Plan& p) {
                   std::iter_swap(find(of(p, 0), kForward, 0), find(of(p, 0), kForward, 1));
                 },
                 {"rank 0", "forward of stage 0, micro-batch 1", "out of micro-batch order"}},
        Mutation{"BackwardInAForwardOnlyPlan",
                 [](Plan& p) { p.forward_only = true; },
                 {"a forward-only plan has no backward passes"}}),
    name_mutation);

INSTANTIATE_TEST_SUITE_P(
    Channels,
    LinearPlan,
    ::testing::Values(
        Mutation{"TwoSendsSwapped",
                 [](Plan& p) {
                   std::swap(find(of(p, 0), kSend, 1)->message, find(of(p, 0), kSend, 2)->message);
                 },
                 {"channel 0 -> 1: number 1 sent", "activation of stage 0, micro-batch 2",
                  "number 1 received", "activation of stage 0, micro-batch 1"}},
        Mutation{"TwoReceivesSwapped",
                 [](Plan& p) {
                   std::swap(find(of(p, 3), kPostRecv, 0)->message,
                             find(of(p, 3), kPostRecv, 1)->message);
                 },
                 {"channel 2 -> 3: number 0 sent", "micro-batch 0", "micro-batch 1"}},
        Mutation{"SendMissing",
                 [](Plan& p) { of(p, 0).erase(find(of(p, 0), kSend, 5)); },
                 {"channel 0 -> 1", "micro-batch 5", "has no send"}},
        Mutation{"ReceiveMissing",
                 [](Plan& p) { of(p, 3).erase(find(of(p, 3), kPostRecv, 5)); },
                 {"channel 2 -> 3", "micro-batch 5", "has no receive"}},
        Mutation{"SequenceWrong",
                 [](Plan& p) { p.messages[0].sequence = 3; },
                 {"channel 0 -> 1", "stated sequence number is 3"}},
        Mutation{"DestinationWrong",
                 [](Plan& p) { p.messages[0].dst_rank = 2; },
                 {"from rank 0 to rank 2", "do not host"}},
        Mutation{"StageSkipped",
                 [](Plan& p) { p.messages[0].to_stage = 2; },
                 {"goes to stage 2", "not the next stage"}},
        Mutation{"MessageNeverSent",
                 [](Plan& p) { p.messages.push_back(p.messages[0]); },
                 {"is sent 0 times"}},
        Mutation{"SentByAnotherRank",
                 [](Plan& p) { find(of(p, 2), kSend)->message = find(of(p, 0), kSend)->message; },
                 {"rank 2", "other end"}}),
    name_mutation);

INSTANTIATE_TEST_SUITE_P(
    Buffers,
    LinearPlan,
    ::testing::Values(
        Mutation{"ReceiveNotWaitedFor",
                 [](Plan& p) { of(p, 2).erase(find(of(p, 2), kWaitRecv, 0)); },
                 {"rank 2", "forward of stage 2, micro-batch 0",
                  "reads the activation of stage 1, micro-batch 0", "still arriving"}},
        Mutation{"WaitBehindThePass",
                 [](Plan& p) {
                   std::iter_swap(find(of(p, 2), kWaitRecv, 0), find(of(p, 2), kForward, 0));
                 },
                 {"rank 2", "still arriving"}},
        Mutation{"ReceivePostedAfterItsWait",
                 [](Plan& p) {
                   Program& program = of(p, 3);
                   const auto wait = find(program, kWaitRecv, 0);
                   std::rotate(program.begin(), wait, wait + 1);
                 },
                 {"rank 3", "wait_recv", "the receive has not been posted"}},
        Mutation{"ReceiveIntoABufferInUse",
                 [](Plan& p) {
                   find(of(p, 3), kPostRecv, 1)->output_buffer =
                       find(of(p, 3), kPostRecv, 0)->output_buffer;
                 },
                 {"rank 3", "overwrites", "still arriving"}},
        Mutation{"PassReadsAnotherBuffer",
                 [](Plan& p) {
                   Instruction& pass = *find(of(p, 3), kForward, 0);
                   pass.input_buffer = 1 - pass.input_buffer;
                 },
                 {"rank 3", "reads the activation of stage 2, micro-batch 0"}},
        Mutation{"PassWithoutInput",
                 [](Plan& p) { find(of(p, 3), kForward, 0)->input_buffer = kNone; },
                 {"rank 3", "no buffer to read the activation"}},
        Mutation{"PassWithoutOutput",
                 [](Plan& p) { find(of(p, 0), kForward, 0)->output_buffer = kNone; },
                 {"rank 0", "no buffer to write the activation"}},
        Mutation{"InputWhereNoneIsNeeded",
                 [](Plan& p) { find(of(p, 0), kForward, 0)->input_buffer = 0; },
                 {"rank 0", "has an input but needs none"}},
        Mutation{"OutputWhereNoneIsMade",
                 [](Plan& p) { find(of(p, 0), kBackwardWeight, 0)->output_buffer = 0; },
                 {"rank 0", "has an output but makes none"}},
        Mutation{"OutputOntoTheInput",
                 [](Plan& p) {
                   Instruction& pass = *find(of(p, 1), kForward, 0);
                   pass.output_buffer = pass.input_buffer;
                 },
                 {"rank 1", "overwrites", "holds the activation of stage 0, micro-batch 0"}},
        Mutation{
            "SentBeforeItIsMade",
            [](Plan& p) { std::iter_swap(find(of(p, 0), kSend, 0), find(of(p, 0), kForward, 0)); },
            {"rank 0", "send", "reads the activation of stage 0, micro-batch 0", "holds nothing"}},
        Mutation{"SendNotWaitedForBeforeReuse",
                 [](Plan& p) { of(p, 0).erase(find(of(p, 0), kWaitSend, 0)); },
                 {"rank 0", "overwrites", "still leaving"}},
        Mutation{"SendNeverWaitedFor",
                 [](Plan& p) { of(p, 0).pop_back(); },
                 {"rank 0 ends while", "still leaving"}},
        Mutation{"SendWaitedForTwice",
                 [](Plan& p) { of(p, 0).push_back(of(p, 0).back()); },
                 {"rank 0", "waited for already"}}),
    name_mutation);

INSTANTIATE_TEST_SUITE_P(
    Saved,
    LinearPlan,
    ::testing::Values(
        Mutation{"RangesOverlap",
                 [](Plan& p) {
                   p.ranks[0].saved[1].forward_to_backward_weight_offset =
                       p.ranks[0].saved[0].forward_to_backward_weight_offset + 64;
                 },
                 {"rank 0", "forward of stage 0, micro-batch 1", "overlap", "micro-batch 0"}},
        Mutation{"RangeBehindTheArena",
                 [](Plan& p) { p.ranks[0].arena_bytes -= 64; },
                 {"rank 0", "leave the arena"}},
        Mutation{"OffsetNegative",
                 [](Plan& p) { p.ranks[0].saved[0].forward_to_backward_weight_offset = -64; },
                 {"rank 0", "leave the arena"}},
        Mutation{"OffsetUnaligned",
                 [](Plan& p) { p.ranks[3].saved[0].backward_input_to_backward_weight_offset += 8; },
                 {"rank 3", "backward_input of stage 3, micro-batch 0", "not aligned"}},
        Mutation{"PeakTooLow",
                 [](Plan& p) { p.ranks[1].peak_activation_bytes -= 64; },
                 {"rank 1", "peak at", "the plan states"}},
        Mutation{"SlotOfAnotherMicroBatch",
                 [](Plan& p) { find(of(p, 1), kForward, 0)->saved_slot = 1; },
                 {"rank 1", "its saved slot 1 belongs to stage 1, micro-batch 1"}}),
    name_mutation);

TEST(Deadlock, IsFoundWithBufferedSends) {
  // Rank 0 waits for the gradient before it makes the activation that the gradient comes from.
  const StageOrders orders = one_forward_one_backward(2, 1);
  const CostModel costs = even_costs(orders.placement);
  Plan plan = build_plan(orders, costs);
  Program& program = of(plan, 0);
  move_behind(find(program, kWaitRecv), find(program, kPostRecv));
  const auto violation = first_violation(plan, costs);
  ASSERT_TRUE(violation);
  EXPECT_NE(violation->find("deadlock with buffered sends: rank 0, instruction 1 (wait_recv from "
                            "rank 1"),
            std::string::npos)
      << *violation;
  EXPECT_NE(violation->find("rank 1, instruction 1 (wait_recv from rank 0"), std::string::npos)
      << *violation;
}

TEST(Deadlock, IsFoundWithRendezvousSends) {
  // Each rank waits until its message has left before it posts the receive for the other's.
  const StageOrders orders = one_forward_one_backward(2, 2);
  const CostModel costs = even_costs(orders.placement);
  Plan plan = build_plan(orders, costs);
  Program& first = of(plan, 0);
  move_behind(find(first, kWaitSend, 1), find(first, kSend, 1));  // activation 1
  move_behind(find(first, kPostRecv, 1), find(first, kWaitSend, 0));
  move_behind(find(first, kPostRecv, 0), find(first, kWaitSend, 0));
  Program& second = of(plan, 1);
  move_behind(find(second, kWaitSend, 0), find(second, kSend, 0));  // gradient 0
  move_behind(find(second, kPostRecv, 1), find(second, kWaitSend, 0));
  const auto violation = first_violation(plan, costs);
  ASSERT_TRUE(violation);
  EXPECT_EQ(violation->find("deadlock with rendezvous sends: rank 0, instruction"), 0u)
      << *violation;
  EXPECT_NE(violation->find("(wait_send to rank 0"), std::string::npos) << *violation;
}

TEST(LocalHandOver, MustBeWrittenBeforeItIsRead) {
  const Placement placement(PlacementKind::kV, 2, 2);
  const CostModel costs = even_costs(placement);
  Plan plan = build_plan(all_forward_all_backward(placement, 2), costs);
  Program& program = of(plan, 1);  // hosts stages 1 and 2
  // The hand-over of micro-batch 1 within the rank now goes through the buffer of micro-batch 0.
  find(program, kForward, 3)->input_buffer = find(program, kForward, 2)->input_buffer;
  const auto violation = first_violation(plan, costs);
  ASSERT_TRUE(violation);
  EXPECT_NE(violation->find("reads the activation of stage 1, micro-batch 1"), std::string::npos)
      << *violation;
}

TEST(Validate, RefusesCostsOfAnotherPlacement) {
  const StageOrders orders = one_forward_one_backward(2, 1);
  CostModel costs = even_costs(orders.placement);
  const Plan plan = build_plan(orders, costs);
  costs.stages.pop_back();
  EXPECT_EQ(first_violation(plan, costs), "the cost model has 1 stages, the plan 2");
}

}  // namespace
}  // namespace halfpipe::schedule
