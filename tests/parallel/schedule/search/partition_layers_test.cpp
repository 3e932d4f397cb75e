// SPDX-License-Identifier: Apache-2.0
// Partitions of unequal layers onto unequal ranks, against all partitions where those can be
// counted.
#include "parallel/schedule/search/partition_layers.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <functional>
#include <limits>
#include <numeric>
#include <optional>
#include <random>
#include <vector>

#include "parallel/schedule/partition.h"
#include "parallel/schedule/search/partition_moves.h"
#include "random_problem.h"

namespace halfpipe::schedule {
namespace {

constexpr double kInfinite = std::numeric_limits<double>::infinity();

LayerAmounts random_amounts(std::mt19937& random, int num_blocks) {
  LayerAmounts amounts;
  amounts.embedding = draw(random, 0, 2);
  amounts.head = draw(random, 0, 12);
  for (int i = 0; i < num_blocks; ++i) amounts.blocks.push_back(draw(random, 0, 6));
  return amounts;
}

/// Whole numbers and halves: sums are exact.
PartitionTask random_task(std::mt19937& random, int num_ranks, int num_blocks) {
  PartitionTask task;
  task.load = random_amounts(random, num_blocks);
  task.memory = random_amounts(random, num_blocks);
  const bool limited = draw(random, 0, 1) == 1;
  for (int rank = 0; rank < num_ranks; ++rank) {
    task.rank_slowness.push_back(1.0 + 0.5 * draw(random, 0, 2));
    task.memory_limit.push_back(limited ? draw(random, 4, 30) : kInfinite);
  }
  return task;
}

/// Every way to deal num_blocks out to num_stages.
void for_all_partitions(int num_blocks,
                        int num_stages,
                        const std::function<void(const std::vector<int>&)>& visit) {
  std::vector<int> blocks(static_cast<std::size_t>(num_stages), 0);
  const std::function<void(std::size_t, int)> fill = [&](std::size_t stage, int left) {
    if (stage + 1 == blocks.size()) {
      blocks[stage] = left;
      visit(blocks);
      return;
    }
    for (int count = 0; count <= left; ++count) {
      blocks[stage] = count;
      fill(stage + 1, left - count);
    }
  };
  fill(0, num_blocks);
}

struct Best {
  double rank = kInfinite;   // heaviest, of partitions within memory
  double stage = kInfinite;  // heaviest, of all
};

Best best_of_all(const Placement& placement, const PartitionTask& task) {
  Best best;
  const auto num_blocks = static_cast<int>(task.load.blocks.size());
  for_all_partitions(num_blocks, placement.num_stages(), [&](const std::vector<int>& blocks) {
    const PartitionMerit merit = merit_of(placement, task, blocks);
    best.stage = std::min(best.stage, merit.heaviest_stage);
    if (merit.excess_memory == 0.0) best.rank = std::min(best.rank, merit.heaviest_rank);
  });
  return best;
}

void expect_partition(const std::vector<int>& blocks, const Placement& placement, int num_blocks) {
  ASSERT_EQ(blocks.size(), static_cast<std::size_t>(placement.num_stages()));
  EXPECT_EQ(std::accumulate(blocks.begin(), blocks.end(), 0), num_blocks);
  EXPECT_GE(*std::min_element(blocks.begin(), blocks.end()), 0);
}

const std::vector<Placement>& exact_placements() {
  static const std::vector<Placement> placements{
      {PlacementKind::kLinear, 1, 1}, {PlacementKind::kLinear, 3, 1},
      {PlacementKind::kLinear, 5, 1}, {PlacementKind::kV, 1, 2},
      {PlacementKind::kV, 2, 2},      {PlacementKind::kV, 3, 2}};
  return placements;
}

TEST(PartitionLayers, BalancesRanksAsWellAsTheBestOfAll) {
  std::mt19937 random(1);
  int num_impossible = 0;
  for (const Placement& placement : exact_placements()) {
    for (int repeat = 0; repeat < 60; ++repeat) {
      const int num_blocks = draw(random, 0, 9);
      const PartitionTask task = random_task(random, placement.num_pipeline_ranks(), num_blocks);
      const Best best = best_of_all(placement, task);
      const std::optional<std::vector<int>> blocks = balance_ranks(placement, task);
      ASSERT_EQ(blocks.has_value(), best.rank < kInfinite);
      // The bound is lower by 1e-9 of itself, so that rounding never makes it too high.
      const double bound = heaviest_rank_bound(placement, task);
      if (!blocks) {
        ++num_impossible;
        EXPECT_EQ(bound, kInfinite);
        continue;
      }
      expect_partition(*blocks, placement, num_blocks);
      const PartitionMerit merit = merit_of(placement, task, *blocks);
      EXPECT_EQ(merit.excess_memory, 0.0);
      EXPECT_EQ(merit.heaviest_rank, best.rank);
      EXPECT_LE(bound, best.rank);
      EXPECT_NEAR(bound, best.rank, 1e-8 * best.rank);
    }
  }
  EXPECT_GT(num_impossible, 20);
}

TEST(PartitionLayers, BalancesStagesAsWellAsTheBestOfAll) {
  std::mt19937 random(2);
  for (const Placement& placement :
       {Placement(PlacementKind::kLinear, 4, 1), Placement(PlacementKind::kV, 3, 2),
        Placement(PlacementKind::kInterleaved, 2, 3), Placement(PlacementKind::kZigzag, 2, 3)}) {
    for (int repeat = 0; repeat < 40; ++repeat) {
      const int num_blocks = draw(random, 0, 8);
      const PartitionTask task = random_task(random, placement.num_pipeline_ranks(), num_blocks);
      const std::vector<int> blocks = balance_stages(placement, task);
      expect_partition(blocks, placement, num_blocks);
      EXPECT_EQ(merit_of(placement, task, blocks).heaviest_stage,
                best_of_all(placement, task).stage);
    }
  }
}

// Interleaved and zigzag placements are balanced by moves: no move is left, the bound holds, and
// the optimum is missed seldom and by little. (Figures are of these draws.)
TEST(PartitionLayers, ComesNearTheBestOfAllOnOtherPlacements) {
  std::mt19937 random(3);
  int num_optimal = 0;
  int num_found = 0;
  double worst = 1.0;
  for (const Placement& placement :
       {Placement(PlacementKind::kInterleaved, 3, 2), Placement(PlacementKind::kInterleaved, 2, 3),
        Placement(PlacementKind::kZigzag, 2, 3), Placement(PlacementKind::kZigzag, 2, 4)}) {
    for (int repeat = 0; repeat < 60; ++repeat) {
      const int num_blocks = draw(random, 2, 9);
      PartitionTask task = random_task(random, placement.num_pipeline_ranks(), num_blocks);
      std::fill(task.memory_limit.begin(), task.memory_limit.end(), kInfinite);
      const double best = best_of_all(placement, task).rank;
      const std::optional<std::vector<int>> blocks = balance_ranks(placement, task);
      ASSERT_TRUE(blocks);
      expect_partition(*blocks, placement, num_blocks);
      const double found = heaviest_rank(placement, task, *blocks);
      EXPECT_LE(heaviest_rank_bound(placement, task), best);
      EXPECT_EQ(improve(placement, task, *blocks), *blocks);
      ++num_found;
      if (found == best) ++num_optimal;
      worst = std::max(worst, found / best);
    }
  }
  EXPECT_GE(num_optimal, num_found * 9 / 10);
  EXPECT_LE(worst, 1.2);
}

/// Blocks of one second and one byte, without a limit.
PartitionTask equal_task(std::size_t num_ranks, int num_blocks, double head) {
  PartitionTask task;
  task.load.blocks.assign(static_cast<std::size_t>(num_blocks), 1.0);
  task.load.head = head;
  task.memory.blocks = task.load.blocks;
  task.rank_slowness.assign(num_ranks, 1.0);
  task.memory_limit.assign(num_ranks, kInfinite);
  return task;
}

TEST(PartitionLayers, AgreesWithEqualBlocksOnEqualRanks) {
  for (const Placement& placement :
       {Placement(PlacementKind::kLinear, 4, 1), Placement(PlacementKind::kV, 4, 2),
        Placement(PlacementKind::kInterleaved, 4, 2), Placement(PlacementKind::kZigzag, 4, 4)}) {
    for (const double head : {0.0, 3.0, 10.0}) {
      for (const int num_blocks : {0, 7, 24}) {
        const PartitionTask task = equal_task(4, num_blocks, head);
        EXPECT_EQ(balance_ranks(placement, task),
                  partition_blocks(placement, num_blocks, 1.0, 0.0, head));
      }
    }
  }
}

TEST(PartitionLayers, GivesASlowRankAndATightRankLess) {
  const Placement linear(PlacementKind::kLinear, 3, 1);
  PartitionTask task = equal_task(3, 10, 0.0);
  task.rank_slowness[1] = 2.0;
  EXPECT_EQ(balance_ranks(linear, task), (std::vector<int>{4, 2, 4}));
  task.memory_limit[2] = 1.0;
  EXPECT_EQ(balance_ranks(linear, task), (std::vector<int>{6, 3, 1}));
  task.memory_limit = {3.0, 3.0, 2.0};
  EXPECT_EQ(balance_ranks(linear, task), std::nullopt);
}

}  // namespace
}  // namespace halfpipe::schedule
