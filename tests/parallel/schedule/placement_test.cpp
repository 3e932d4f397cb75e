// SPDX-License-Identifier: Apache-2.0
// Which rank hosts which stage, for every kind of placement.
#include "parallel/schedule/placement.h"

#include <gtest/gtest.h>

#include <vector>

#include "parallel/schedule/schedule_error.h"

namespace halfpipe::schedule {
namespace {

std::vector<int> ranks_of_stages(const Placement& placement) {
  std::vector<int> ranks;
  for (int stage = 0; stage < placement.num_stages(); ++stage) {
    ranks.push_back(placement.rank_of(stage));
  }
  return ranks;
}

TEST(Placement, SaysWhereEveryStageIs) {
  EXPECT_EQ(ranks_of_stages({PlacementKind::kLinear, 3, 1}), (std::vector{0, 1, 2}));
  EXPECT_EQ(ranks_of_stages({PlacementKind::kInterleaved, 3, 2}), (std::vector{0, 1, 2, 0, 1, 2}));
  EXPECT_EQ(ranks_of_stages({PlacementKind::kV, 3, 2}), (std::vector{0, 1, 2, 2, 1, 0}));
  EXPECT_EQ(ranks_of_stages({PlacementKind::kZigzag, 3, 3}),
            (std::vector{0, 1, 2, 2, 1, 0, 0, 1, 2}));
  EXPECT_EQ(ranks_of_stages({PlacementKind::kZigzag, 2, 4}), (std::vector{0, 1, 1, 0, 0, 1, 1, 0}));
}

TEST(Placement, HasANameForPeople) {
  EXPECT_STREQ(name_of(PlacementKind::kLinear), "linear");
  EXPECT_STREQ(name_of(PlacementKind::kInterleaved), "interleaved");
  EXPECT_STREQ(name_of(PlacementKind::kV), "V");
  EXPECT_STREQ(name_of(PlacementKind::kZigzag), "zigzag");
}

TEST(Placement, StageOfIsTheInverse) {
  for (int num_chunks = 1; num_chunks <= 6; ++num_chunks) {
    for (const int p : {1, 2, 5}) {
      const Placement placement(PlacementKind::kZigzag, p, num_chunks);
      for (int stage = 0; stage < placement.num_stages(); ++stage) {
        EXPECT_EQ(placement.stage_of(placement.rank_of(stage), placement.chunk_of(stage)), stage);
      }
    }
  }
}

TEST(Placement, EndsShareARankWhereTheLastLegGoesUp) {
  EXPECT_TRUE(Placement(PlacementKind::kV, 4, 2).ends_share_rank());
  EXPECT_TRUE(Placement(PlacementKind::kZigzag, 4, 4).ends_share_rank());
  EXPECT_FALSE(Placement(PlacementKind::kZigzag, 4, 3).ends_share_rank());
  EXPECT_FALSE(Placement(PlacementKind::kInterleaved, 4, 2).ends_share_rank());
  EXPECT_TRUE(Placement(PlacementKind::kZigzag, 1, 3).ends_share_rank());
}

TEST(Placement, AZigzagOfOneOrTwoChunksHasItsPlainName) {
  EXPECT_EQ(Placement(PlacementKind::kZigzag, 4, 1), Placement(PlacementKind::kLinear, 4, 1));
  EXPECT_EQ(Placement(PlacementKind::kZigzag, 4, 2), Placement(PlacementKind::kV, 4, 2));
  EXPECT_EQ(Placement(PlacementKind::kZigzag, 4, 3).kind(), PlacementKind::kZigzag);
}

TEST(Placement, RefusesChunksThatItsKindDoesNotHave) {
  EXPECT_THROW(Placement(PlacementKind::kLinear, 4, 2), ScheduleError);
  EXPECT_THROW(Placement(PlacementKind::kV, 4, 3), ScheduleError);
  EXPECT_THROW(Placement(PlacementKind::kZigzag, 4, 0), ScheduleError);
  EXPECT_THROW(Placement(PlacementKind::kZigzag, 0, 4), ScheduleError);
}

}  // namespace
}  // namespace halfpipe::schedule
