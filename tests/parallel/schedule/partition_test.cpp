// SPDX-License-Identifier: Apache-2.0
// Partitions of blocks into stages, against all partitions where those can be counted.
#include "parallel/schedule/partition.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <limits>
#include <numeric>
#include <string>
#include <tuple>
#include <vector>

#include "parallel/schedule/schedule_error.h"

namespace halfpipe::schedule {
namespace {

/// Heaviest rank, heaviest stage, sum of squared stage loads. Exact for whole-numbered costs.
using Merit = std::tuple<double, double, double>;

struct Costs {
  double block;
  double first_extra;
  double last_extra;
};

Merit merit_of(const Placement& placement, const std::vector<int>& blocks, const Costs& costs) {
  std::vector<double> ranks(static_cast<std::size_t>(placement.num_pipeline_ranks()), 0.0);
  double heaviest_stage = 0.0;
  double squares = 0.0;
  for (std::size_t s = 0; s < blocks.size(); ++s) {
    double load = blocks[s] * costs.block;
    if (s == 0) load += costs.first_extra;
    if (s + 1 == blocks.size()) load += costs.last_extra;
    ranks[static_cast<std::size_t>(placement.rank_of(static_cast<int>(s)))] += load;
    heaviest_stage = std::max(heaviest_stage, load);
    squares += load * load;
  }
  return {*std::max_element(ranks.begin(), ranks.end()), heaviest_stage, squares};
}

/// Tries all partitions of what is left over the stages from `stage` on.
void best_of_all(const Placement& placement,
                 const Costs& costs,
                 int left,
                 std::size_t stage,
                 std::vector<int>& blocks,
                 Merit& best) {
  if (stage + 1 == blocks.size()) {
    blocks[stage] = left;
    best = std::min(best, merit_of(placement, blocks, costs));
    return;
  }
  for (int n = 0; n <= left; ++n) {
    blocks[stage] = n;
    best_of_all(placement, costs, left - n, stage + 1, blocks, best);
  }
}

TEST(Partition, IsAsGoodAsTheBestOfAll) {
  const std::vector<Costs> all_costs = {{1, 0, 0}, {2, 1, 5}, {3, 0, 10}, {4, 7, 2}, {5, 20, 1}};
  for (const Placement& placement :
       {Placement(PlacementKind::kLinear, 1, 1), Placement(PlacementKind::kLinear, 3, 1),
        Placement(PlacementKind::kLinear, 5, 1), Placement(PlacementKind::kV, 1, 2),
        Placement(PlacementKind::kV, 2, 2), Placement(PlacementKind::kV, 3, 2),
        Placement(PlacementKind::kInterleaved, 2, 3)}) {
    for (const Costs& costs : all_costs) {
      for (int num_blocks = 0; num_blocks <= 9; ++num_blocks) {
        const std::vector<int> blocks = partition_blocks(placement, num_blocks, costs.block,
                                                         costs.first_extra, costs.last_extra);
        ASSERT_EQ(blocks.size(), static_cast<std::size_t>(placement.num_stages()));
        EXPECT_EQ(std::accumulate(blocks.begin(), blocks.end(), 0), num_blocks);
        EXPECT_GE(*std::min_element(blocks.begin(), blocks.end()), 0);
        std::vector<int> scratch(blocks.size());
        Merit best{std::numeric_limits<double>::infinity(), 0.0, 0.0};
        best_of_all(placement, costs, num_blocks, 0, scratch, best);
        EXPECT_EQ(merit_of(placement, blocks, costs), best)
            << placement.num_stages() << " stages, " << num_blocks << " blocks, costs "
            << costs.block << ' ' << costs.first_extra << ' ' << costs.last_extra;
      }
    }
  }
}

TEST(Partition, IsUniformWithoutExtras) {
  EXPECT_EQ(partition_blocks(Placement(PlacementKind::kV, 4, 2), 24, 0.37, 0, 0),
            (std::vector<int>(8, 3)));
  EXPECT_EQ(partition_blocks(Placement(PlacementKind::kLinear, 4, 1), 4, 1e-6, 0, 0),
            (std::vector<int>(4, 1)));
}

TEST(Partition, GivesTheRankOfBothEndsFewerBlocks) {
  // Rank 0 of a V hosts stages 0 and 7; the head is worth three blocks.
  const std::vector<int> blocks =
      partition_blocks(Placement(PlacementKind::kV, 4, 2), 24, 1.0, 0.0, 3.0);
  EXPECT_LT(blocks[0] + blocks[7], 6);
  EXPECT_LT(blocks[7], blocks[0]);
  EXPECT_EQ(std::accumulate(blocks.begin(), blocks.end(), 0), 24);
}

TEST(Partition, LeavesAStageEmptyBesideAHeavyHead) {
  EXPECT_EQ(partition_blocks(Placement(PlacementKind::kLinear, 3, 1), 4, 1.0, 0.0, 10.0),
            (std::vector<int>{2, 2, 0}));
}

TEST(Partition, GivesLaterStagesTheRest) {
  EXPECT_EQ(partition_blocks(Placement(PlacementKind::kLinear, 4, 1), 6, 1.0, 0.0, 0.0),
            (std::vector<int>{1, 1, 2, 2}));
}

TEST(Partition, RefusesSenselessCosts) {
  const Placement placement(PlacementKind::kLinear, 2, 1);
  EXPECT_THROW((void)partition_blocks(placement, -1, 1.0, 0.0, 0.0), ScheduleError);
  EXPECT_THROW((void)partition_blocks(placement, 4, 0.0, 0.0, 0.0), ScheduleError);
  EXPECT_THROW((void)partition_blocks(placement, 4, 1.0, -1.0, 0.0), ScheduleError);
  EXPECT_THROW(
      (void)partition_blocks(placement, 4, 1.0, 0.0, std::numeric_limits<double>::infinity()),
      ScheduleError);
}

}  // namespace
}  // namespace halfpipe::schedule
