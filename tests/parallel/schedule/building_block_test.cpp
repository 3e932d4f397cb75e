// SPDX-License-Identifier: Apache-2.0
// Every block of the catalogue, and what is said of blocks that cannot be repeated.
#include "parallel/schedule/building_block.h"

#include <gtest/gtest.h>

#include "order_properties.h"
#include "parallel/schedule/block_schedule.h"
#include "parallel/schedule/blocks.h"
#include "parallel/schedule/schedule_error.h"

namespace halfpipe::schedule {
namespace {

class EveryRankCount : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Ranks, EveryRankCount, testing::Range(1, 34));

TEST_P(EveryRankCount, BlocksRepeatWithoutCollisions) {
  const int p = GetParam();
  for (const BuildingBlock& block : {one_f_one_b_block(p), one_f_one_b_v_block(p), v_min_block(p),
                                     v_half_block(p), w4_block(p)}) {
    EXPECT_EQ(first_defect(block), std::nullopt) << block.name;
  }
}

TEST_P(EveryRankCount, BlocksRepeatWithoutCollisionsWithTheirWeightPasses) {
  const int p = GetParam();
  for (const BuildingBlock& block : {v_min_block(p), v_half_block(p), w4_block(p)}) {
    const BuildingBlock whole = with_weight_passes(block);
    EXPECT_EQ(first_defect(whole), std::nullopt) << block.name;
    EXPECT_EQ(whole.slots.size(), 3U * static_cast<std::size_t>(block.placement.num_stages()));
  }
}

// The peaks that the published implementation of arXiv:2405.15362 reaches, from the block alone;
// for the blocks of our own, the limits that their schedules are held to.
TEST_P(EveryRankCount, PredictsThePublishedPeaks) {
  const int p = GetParam();
  EXPECT_EQ(predicted_peak(with_weight_passes(v_min_block(p))), 2 * ((p + 4) / 3));
  EXPECT_EQ(predicted_peak(with_weight_passes(v_half_block(p))), 2 * ((p + 2) / 2));
  EXPECT_LE(predicted_peak(with_weight_passes(w4_block(p))), 4 * ((p + 2) / 2));
  EXPECT_LE(predicted_peak(one_f_one_b_v_block(p)), 2 * (2 * p / 3 + 1));
}

TEST_P(EveryRankCount, OneFOneBKeepsOneMicroBatchPerRankFromHereToTheLast) {
  const int p = GetParam();
  for (int rank = 0; rank < p; ++rank) {
    EXPECT_EQ(predicted_peak(one_f_one_b_block(p), rank), p - rank);
  }
}

// Qi et al. 2024, arXiv:2405.15362: the V shape gives every rank the same lifespan, 4 slots per
// rank for V-Min and 6 for V-Half, plus what keeps passes from colliding (two stages, twice 2 or 3
// slots at most).
TEST_P(EveryRankCount, VBlocksBalanceTheMemory) {
  const int p = GetParam();
  for (int rank = 0; rank < p; ++rank) {
    EXPECT_EQ(lifespan(v_min_block(p), rank), lifespan(v_min_block(p), 0));
    EXPECT_EQ(lifespan(v_half_block(p), rank), lifespan(v_half_block(p), 0));
    EXPECT_EQ(lifespan(w4_block(p), rank), lifespan(w4_block(p), 0));
  }
  EXPECT_EQ(lifespan(v_min_block(p), 0), 4 * p + 2 + (p % 3 == 0 ? 4 : 0));
  EXPECT_EQ(lifespan(v_half_block(p), 0), 6 * p + 1 + (p % 2 == 0 ? 6 : 0));
}

TEST_P(EveryRankCount, UnrolledOneFOneBIsValid) {
  const StageOrders orders = unroll(one_f_one_b_block(GetParam()), 2 * GetParam() + 1);
  EXPECT_EQ(first_order_violation(orders), "");
}

// Without a filled wait a block needs as many stage activations as its lifespans say, and no
// schedule of it fits in less.
TEST(BuildingBlock, ScheduleRefusesLessMemoryThanTheBlockNeeds) {
  const BuildingBlock block = v_half_block(8);
  const int peak = predicted_peak(block, 0);
  EXPECT_EQ(first_order_violation(block_schedule(block, 16, {peak, 0})), "");
  EXPECT_THROW(block_schedule(block, 16, {peak - 2, 0}), ScheduleError);
}

TEST(BuildingBlock, NamesPassesThatMeet) {
  BuildingBlock block = one_f_one_b_block(2);
  block.interval = 2;
  EXPECT_EQ(first_defect(block),
            "B of stage 0 (slot 4) and F of stage 0 (slot 0) of rank 0 meet modulo the interval 2");
}

TEST(BuildingBlock, NamesABrokenDependency) {
  BuildingBlock block = v_min_block(2);
  block.slots[3].start = 0;  // F of stage 3
  EXPECT_EQ(first_defect(block),
            "F of stage 3 (slot 0) starts before its input, F of stage 2 (slot 2), has ended");
}

TEST(BuildingBlock, NamesAMissingOrRepeatedPass) {
  BuildingBlock block = one_f_one_b_block(2);
  block.slots.pop_back();
  EXPECT_EQ(first_defect(block), "a stage lacks a pass");
  block.slots.push_back(block.slots.front());
  EXPECT_EQ(first_defect(block), "F of stage 0 (slot 0) is there twice");
}

}  // namespace
}  // namespace halfpipe::schedule
