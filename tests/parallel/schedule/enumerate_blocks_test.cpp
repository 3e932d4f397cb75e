// SPDX-License-Identifier: Apache-2.0
// The V family: complete, ordered, and every member a schedule within the peak that it predicts.
#include "parallel/schedule/enumerate_blocks.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <tuple>
#include <vector>

#include "order_properties.h"
#include "parallel/schedule/block_schedule.h"
#include "parallel/schedule/blocks.h"
#include "parallel/schedule/simulate.h"

namespace halfpipe::schedule {
namespace {

BuildingBlock block_of(const VBlock& found, int p) {
  return zigzag_block("v", p, found.travel);
}

class VBlocks : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Ranks, VBlocks, testing::Range(2, 17));

bool has_block(const std::vector<VBlock>& found, const BuildingBlock& wanted) {
  const int p = wanted.placement.num_pipeline_ranks();
  return std::any_of(found.begin(), found.end(), [&](const VBlock& one) {
    const BuildingBlock block = block_of(one, p);
    return std::equal(block.slots.begin(), block.slots.end(), wanted.slots.begin(),
                      wanted.slots.end(), [](const Slot& a, const Slot& b) {
                        return std::tie(a.stage, a.pass, a.start) ==
                               std::tie(b.stage, b.pass, b.start);
                      });
  });
}

TEST_P(VBlocks, HasVMinAndVHalfAtTheirMemory) {
  const int p = GetParam();
  EXPECT_TRUE(has_block(enumerate_v_blocks(p, 2 * ((p + 4) / 3)), v_min_block(p)));
  EXPECT_TRUE(has_block(enumerate_v_blocks(p, 2 * ((p + 2) / 2)), v_half_block(p)));
}

TEST_P(VBlocks, EveryBlockRunsWithinThePeakThatItPredicts) {
  const int p = GetParam();
  const int num_micro_batches = 2 * p + 1;
  for (const VBlock& found : enumerate_v_blocks(p, 2 * p)) {
    const BuildingBlock block = block_of(found, p);
    ASSERT_EQ(first_defect(block), std::nullopt);
    const BuildingBlock whole = with_weight_passes(block);
    ASSERT_EQ(first_defect(whole), std::nullopt);
    ASSERT_EQ(predicted_peak(whole), found.peak);
    const StageOrders orders = unroll(whole, num_micro_batches);
    ASSERT_EQ(first_order_violation(orders), "");
    const Timeline timeline = simulate(orders, uniform_costs(2 * p));
    ASSERT_LE(2 * highest_peak_units(timeline), found.peak);
  }
}

TEST(EnumerateBlocks, EveryBlockMakesASchedule) {
  constexpr int kRanks = 6;
  for (const VBlock& found : enumerate_v_blocks(kRanks, 2 * kRanks)) {
    const StageOrders orders =
        block_schedule(block_of(found, kRanks), 2 * kRanks, {found.peak, /*idle_slots=*/0});
    ASSERT_EQ(first_order_violation(orders), "");
    const Timeline timeline = simulate(orders, uniform_costs(2 * kRanks));
    ASSERT_LE(2 * highest_peak_units(timeline), found.peak);
  }
}

/// Blocks with these slots per hop (F down, F up, B up, B down) and any turns, by first_defect.
int count_blocks(int p, int max_in_flight, const std::array<int, 4>& hops) {
  int count = 0;
  for (int turn = 1; turn <= 6; ++turn) {
    for (int to_backward = 1; to_backward <= 6; ++to_backward) {
      for (int back_turn = 1; back_turn <= 6; ++back_turn) {
        const BuildingBlock block = zigzag_block(
            "v", p, {{hops[0], hops[1]}, {turn}, to_backward, {hops[2], hops[3]}, {back_turn}});
        if (first_defect(block)) continue;
        count += predicted_peak(with_weight_passes(block)) <= max_in_flight ? 1 : 0;
      }
    }
  }
  return count;
}

TEST(EnumerateBlocks, LeavesNoBlockOut) {
  for (const int p : {1, 2, 3, 8}) {
    const int max_in_flight = 2 * p - (p > 4 ? 3 : 0);
    int expected = 0;
    const int most = p == 1 ? 1 : 6;
    for (int a = 1; a <= most; ++a) {
      for (int b = 1; b <= most; ++b) {
        for (int c = 1; c <= most; ++c) {
          for (int d = 1; d <= most; ++d) {
            expected += count_blocks(p, max_in_flight, {a, b, c, d});
          }
        }
      }
    }
    EXPECT_EQ(enumerate_v_blocks(p, max_in_flight).size(), static_cast<std::size_t>(expected))
        << "p " << p;
  }
}

TEST(EnumerateBlocks, CheapFirst) {
  const std::vector<VBlock> found = enumerate_v_blocks(8, 16);
  const auto key = [](const VBlock& block) {
    return std::tie(block.lifespan, block.trip_slots, block.travel);
  };
  ASSERT_FALSE(found.empty());
  for (std::size_t i = 1; i < found.size(); ++i) EXPECT_LT(key(found[i - 1]), key(found[i]));
}

TEST(EnumerateBlocks, ATighterLimitRemovesTheBlocksAboveIt) {
  const std::vector<VBlock> all = enumerate_v_blocks(8, 16);
  std::size_t before = all.size();
  for (int limit = 15; limit >= 7; --limit) {
    const std::vector<VBlock> found = enumerate_v_blocks(8, limit);
    const auto fits = [limit](const VBlock& block) { return block.peak <= limit; };
    EXPECT_EQ(found.size(), static_cast<std::size_t>(std::count_if(all.begin(), all.end(), fits)));
    EXPECT_LT(found.size(), before) << "limit " << limit;  // every half unit has a block
    before = found.size();
  }
  EXPECT_TRUE(enumerate_v_blocks(8, 7).empty());  // V-Min needs 8
}

// More memory, shorter steps: at every half unit from V-Min to p a limit of its own pays.
TEST(EnumerateBlocks, EveryHalfUnitOfMemoryShortensTheStep) {
  constexpr int kRanks = 8;
  constexpr int kMicroBatches = 16;
  double shorter_than = 6 * kMicroBatches + 4 * kRanks;
  for (int limit = 8; limit <= 2 * kRanks; ++limit) {
    double best = shorter_than;
    for (const VBlock& found : enumerate_v_blocks(kRanks, limit)) {
      if (found.peak < limit - 1) continue;  // the rest adds seconds and nothing shorter
      const StageOrders orders =
          block_schedule(block_of(found, kRanks), kMicroBatches, {limit, /*idle_slots=*/0});
      best = std::min(best, simulate(orders, uniform_costs(2 * kRanks)).span);
    }
    EXPECT_LT(best, shorter_than) << limit << " stage activations";
    shorter_than = best;
  }
}

}  // namespace
}  // namespace halfpipe::schedule
