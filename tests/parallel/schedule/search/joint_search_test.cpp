// SPDX-License-Identifier: Apache-2.0
// Placement, layers and orders chosen together.
#include "parallel/schedule/search/joint_search.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "parallel/schedule/build_plan.h"
#include "parallel/schedule/search/lower_bound.h"
#include "parallel/schedule/search/partition_layers.h"
#include "parallel/schedule/search/search.h"
#include "parallel/schedule/search/split_search.h"
#include "parallel/schedule/search/split_tasks.h"
#include "parallel/schedule/simulate.h"
#include "random_problem.h"

namespace halfpipe::schedule {
namespace {

LayerCost layer(double seconds, std::int64_t bytes) {
  return {{seconds, seconds, seconds, 0, bytes, 0}, 0};
}

SearchBudget counted(std::int64_t evaluations) {
  SearchBudget budget;
  budget.evaluations = evaluations;
  return budget;
}

Placement linear(int p) {
  return {PlacementKind::kLinear, p, 1};
}

Placement v_placement(int p) {
  return {PlacementKind::kV, p, 2};
}

/// Blocks of one second per pass and one byte, on V or linear, with room for `blocks` of them.
JointProblem plain_problem(int p, int num_blocks, std::int64_t room) {
  JointProblem problem;
  problem.model.blocks.assign(static_cast<std::size_t>(num_blocks), layer(1.0, 1));
  problem.placements = {v_placement(p), linear(p)};
  problem.num_micro_batches = 4 * p;
  problem.memory_limit.assign(static_cast<std::size_t>(p), room);
  return problem;
}

JointProblem random_joint_problem(std::mt19937& random) {
  const int p = draw(random, 1, 4);
  JointProblem problem = plain_problem(p, 0, 0);
  if (p > 1) problem.placements.emplace_back(PlacementKind::kZigzag, p, draw(random, 3, 4));
  if (p > 1) problem.placements.emplace_back(PlacementKind::kInterleaved, p, draw(random, 2, 3));
  const auto random_layer = [&] {
    const auto seconds = [&] { return 0.5 * draw(random, 0, 6); };
    return LayerCost{{seconds(), seconds(), seconds(), draw(random, 0, 2), draw(random, 0, 3),
                      draw(random, 0, 1)},
                     draw(random, 1, 2)};
  };
  const int num_blocks = draw(random, 0, 8);
  for (int i = 0; i < num_blocks; ++i) problem.model.blocks.push_back(random_layer());
  problem.model.embedding = random_layer();
  problem.model.head = random_layer();
  problem.model.shared_resident_bytes = draw(random, 0, 1);
  problem.num_micro_batches = draw(random, 1, 8);
  problem.messages.message_seconds = 0.5 * draw(random, 0, 2);
  for (int rank = 0; rank < p; ++rank) problem.rank_slowness.push_back(draw(random, 2, 3) / 2.0);
  problem.memory_limit.assign(static_cast<std::size_t>(p),
                              smallest_limit_of_any_split(problem) + draw(random, 0, 30));
  if (draw(random, 0, 1) == 1) problem.objective = Objective::kMakespan;
  return problem;
}

void expect_sound(const JointResult& result, const JointProblem& problem) {
  const std::vector<int>& blocks = result.split.blocks_per_stage;
  ASSERT_EQ(blocks.size(), static_cast<std::size_t>(result.split.placement.num_stages()));
  EXPECT_EQ(std::accumulate(blocks.begin(), blocks.end(), 0),
            static_cast<int>(problem.model.blocks.size()));
  EXPECT_EQ(result.orders.placement, result.split.placement);
  const SearchProblem fixed = problem_of(problem, result.split);
  EXPECT_NO_THROW((void)build_plan(result.orders, fixed.costs));
  const Timeline timeline = simulate(result.orders, fixed.costs);
  EXPECT_EQ(result.cost, problem.objective == Objective::kSpan ? timeline.span : timeline.makespan);
  for (std::size_t rank = 0; rank < fixed.memory_limit.size(); ++rank) {
    EXPECT_LE(timeline.peak_activation_bytes[rank], fixed.memory_limit[rank]);
  }
  EXPECT_LE(result.bound, result.cost);
  EXPECT_LE(result.bound_of_any_split, result.bound);
}

TEST(JointSearch, IsSoundOnRandomProblems) {
  std::mt19937 random(1);
  for (int repeat = 0; repeat < 150; ++repeat) {
    const JointProblem problem = random_joint_problem(random);
    const JointResult result = search_jointly(problem, counted(1000));
    expect_sound(result, problem);
    SearchBudget threads = counted(1000);
    threads.num_threads = 2;
    const JointResult again = search_jointly(problem, threads);
    EXPECT_EQ(again.split, result.split);
    EXPECT_EQ(again.orders.ranks, result.orders.ranks);
  }
}

// Four ranks, 16 blocks and a head worth four: 4 blocks per rank leave 8 to the rank of the head,
// 24 s per micro-batch; 5 of 20 are 15 s, and a search of this length ends within 5% of that.
TEST(JointSearch, MakesRoomForAHeavyHead) {
  JointProblem problem = plain_problem(4, 16, 24);
  problem.model.head = layer(4.0, 0);
  const JointResult joint = search_jointly(problem, counted(50000));
  expect_sound(joint, problem);
  const double work = 15.0 * problem.num_micro_batches;
  EXPECT_LE(joint.cost, 1.05 * work);
  EXPECT_NEAR(joint.bound_of_any_split, work, 1e-6);  // the bound is lower by 1e-9 of itself
  JointProblem by_count = problem;
  by_count.placements = {v_placement(4)};
  by_count.blocks_per_stage = std::vector<int>(8, 2);
  const JointResult equal = search_jointly(by_count, counted(50000));
  EXPECT_GE(equal.cost, 24.0 * problem.num_micro_batches);
}

// Four ranks whose stages alternate between dear and cheap: going round gives every rank one of
// each, going back gives two of a kind to the same rank.
TEST(JointSearch, GoesRoundTheRanksWhereThatBalancesThem) {
  JointProblem problem = plain_problem(4, 16, 12);
  problem.placements = {v_placement(4), {PlacementKind::kInterleaved, 4, 2}};
  problem.blocks_per_stage = {3, 3, 1, 1, 1, 1, 3, 3};
  const JointResult result = search_jointly(problem, counted(2000));
  expect_sound(result, problem);
  EXPECT_EQ(result.split.placement.kind(), PlacementKind::kInterleaved);
  // Six blocks on a rank of the V make at least this.
  EXPECT_LT(result.cost, 3.0 * 6.0 * problem.num_micro_batches);
  // The bound is for both placements, so for the better one.
  problem.placements = {v_placement(4)};
  EXPECT_GT(bound_of_any_split(problem).seconds, result.bound_of_any_split);
}

// Nine blocks are three on some rank, however the ranks are gone round; ten beside a head of two
// are three each, and no less where one rank is faster.
TEST(BoundOfAnySplit, CountsWholeBlocks) {
  JointProblem problem = plain_problem(4, 9, 1000);
  problem.placements = {{PlacementKind::kInterleaved, 4, 2}, {PlacementKind::kZigzag, 4, 4}};
  EXPECT_NEAR(bound_of_any_split(problem).seconds, 3.0 * 3.0 * problem.num_micro_batches, 1e-6);
  problem.model.blocks.assign(10, layer(1.0, 1));
  problem.model.head = layer(2.0, 1);
  EXPECT_NEAR(bound_of_any_split(problem).seconds, 3.0 * 3.0 * problem.num_micro_batches, 1e-6);
  problem.rank_slowness = {1.0, 1.0, 1.0, 0.5};  // one rank is twice as fast
  EXPECT_NEAR(bound_of_any_split(problem).seconds, 3.0 * 3.0 * problem.num_micro_batches, 1e-6);
}

// Room for four blocks on every rank: one micro-batch fills it all until its first layers are
// through.
TEST(BoundOfAnySplit, CountsTheTimeThatMemoryIsKept) {
  JointProblem problem = plain_problem(4, 16, 4);
  const double work = 3.0 * 4.0 * problem.num_micro_batches;
  // Layer i is kept for F of 16 - i layers, for as many B, and its own W.
  double byte_seconds = 0.0;
  for (int later = 1; later <= 16; ++later) byte_seconds += 2.0 * later + 1.0;
  const double tight = problem.num_micro_batches * byte_seconds / 16.0;
  ASSERT_GT(tight, work);
  EXPECT_NEAR(bound_of_any_split(problem).seconds, tight, 1e-6);
  EXPECT_NE(bound_of_any_split(problem).reason.find("memory"), std::string::npos);
  const JointResult found = search_jointly(problem, counted(5000));
  expect_sound(found, problem);
  EXPECT_GE(found.bound, tight - 1e-6);
  // Three times the memory: the work alone takes longer.
  problem.memory_limit.assign(4, 12);
  EXPECT_NEAR(bound_of_any_split(problem).seconds, work, 1e-6);
  EXPECT_NE(bound_of_any_split(problem).reason.find("work"), std::string::npos);
}

TEST(BoundOfAnySplit, CountsLifetimesSpeedsAndResidents) {
  JointProblem problem;
  problem.placements = {linear(2)};
  problem.num_micro_batches = 10;
  problem.memory_limit = {13, 20};
  // Kept until B ends: F and B. Kept until W ends: F, B and W. From B on: B and W.
  problem.model.embedding = {{1.0, 2.0, 4.0, 5, 0, 0}, 3};
  problem.model.blocks = {{{2.0, 3.0, 1.0, 0, 7, 0}, 4}};
  problem.model.head = {{1.0, 1.0, 2.0, 0, 0, 60}, 6};
  const double byte_seconds = 5.0 * (4.0 + 6.0) + 7.0 * (3.0 + 4.0 + 1.0) + 60.0 * (1.0 + 2.0);
  EXPECT_NEAR(bound_of_any_split(problem).seconds, 10.0 * byte_seconds / (33.0 - 13.0), 1e-6);
  // The fastest rank is twice as fast as usual.
  problem.rank_slowness = {3.0, 0.5};
  EXPECT_GE(bound_of_any_split(problem).seconds, 0.5 * 10.0 * byte_seconds / 20.0 - 1e-6);
  // What both ends have in common is there once, where they share a rank.
  problem.rank_slowness = {};
  problem.model.shared_resident_bytes = 3;
  problem.memory_limit = {20, 13};
  problem.placements = {v_placement(2)};
  EXPECT_NEAR(bound_of_any_split(problem).seconds, 10.0 * byte_seconds / (33.0 - 10.0), 1e-6);
  problem.memory_limit = {5, 5};
  EXPECT_EQ(bound_of_any_split(problem).seconds, std::numeric_limits<double>::infinity());
}

// Little memory, so that it decides often; a few searches are long enough to come close.
TEST(BoundOfAnySplit, IsNeverAboveWhatIsFound) {
  std::mt19937 random(3);
  int by_memory = 0;
  for (int repeat = 0; repeat < 400; ++repeat) {
    JointProblem problem = random_joint_problem(random);
    problem.memory_limit.assign(problem.memory_limit.size(),
                                smallest_limit_of_any_split(problem) + draw(random, 0, 4));
    const LowerBound bound = bound_of_any_split(problem);
    if (bound.reason.find("memory") != std::string::npos) ++by_memory;
    const JointResult found = search_jointly(problem, counted(repeat % 20 == 0 ? 20000 : 300));
    EXPECT_LE(bound.seconds, found.cost) << "problem " << repeat;
  }
  EXPECT_GE(by_memory, 20);
}

// The lightest heaviest rank is not always the fastest cut: where a rank has no memory for a second
// micro-batch of its share, less work for it may let the others go on.
TEST(SplitSearch, FindsBetterSplitsThanBalancedOnes) {
  std::mt19937 random(2);
  int num_better = 0;
  for (int repeat = 0; repeat < 40; ++repeat) {
    const JointProblem problem = random_joint_problem(random);
    SplitSearch search(problem, counted(20000));
    search.start(1.0);
    ASSERT_FALSE(search.scored().empty());
    const double start = search.best_cost();
    search.climb(0.3);
    search.look_closer(4, 0.5);
    EXPECT_LE(search.best_cost(), start);
    EXPECT_LE(search_jointly(problem, counted(20000)).cost, start);
    if (search.best_cost() < start) ++num_better;
    for (std::size_t i = 0; i < search.scored().size(); ++i) {
      const ScoredSplit& scored = search.scored()[i];
      EXPECT_LE(scored.bound, scored.cost);
      EXPECT_GE(scored.cost, search.best_cost());
      if (i == 0) continue;
      EXPECT_GE(scored.promise(), search.scored()[i - 1].promise());
    }
  }
  EXPECT_GE(num_better, 5);
}

TEST(JointSearch, KeepsTheLayersThatAreGiven) {
  JointProblem problem = plain_problem(2, 6, 12);
  for (const std::vector<int>& given : {std::vector<int>{1, 5}, std::vector<int>{3, 0, 1, 2}}) {
    problem.blocks_per_stage = given;
    const JointResult result = search_jointly(problem, counted(1000));
    EXPECT_EQ(result.split.blocks_per_stage, given);
    EXPECT_EQ(result.bound_of_any_split, result.bound);
    expect_sound(result, problem);
  }
}

TEST(JointSearch, CountsWhatStaysResident) {
  JointProblem problem = plain_problem(2, 4, 8);
  for (LayerCost& block : problem.model.blocks) block.resident_bytes = 3;
  expect_sound(search_jointly(problem, counted(1000)), problem);
  problem.memory_limit = {7, 7};
  try {
    (void)search_jointly(problem, counted(1000));
    ADD_FAILURE() << "two blocks take 6 bytes and 2 for one micro-batch";
  } catch (const MemoryLimitError& error) {
    EXPECT_EQ(error.smallest_limit(), 8);
  }
}

TEST(JointSearch, CountsWhatTheEndsShareOnce) {
  JointProblem problem = plain_problem(2, 4, 12);
  problem.model.embedding.resident_bytes = 10;
  problem.model.head.resident_bytes = 10;
  // Two ranks of a line, each with one end and two blocks.
  EXPECT_EQ(smallest_limit_of_any_split(problem), 12);
  EXPECT_EQ(search_jointly(problem, counted(1000)).split.placement, linear(2));
  // On a V one of them has both ends, and only what they do not share twice.
  problem.model.shared_resident_bytes = 10;
  problem.placements = {v_placement(2)};
  expect_sound(search_jointly(problem, counted(1000)), problem);
  EXPECT_EQ(smallest_limit_of_any_split(problem), 10);
}

TEST(JointSearch, EndsWhenItsTimeIsUp) {
  JointProblem problem = plain_problem(4, 16, 10);
  SearchBudget budget;
  for (const double seconds : {0.0, 0.05}) {
    budget.seconds = seconds;
    expect_sound(search_jointly(problem, budget), problem);
  }
}

std::string error_of(const JointProblem& problem) {
  try {
    check(problem);
  } catch (const ScheduleError& error) {
    return error.what();
  }
  return "";
}

TEST(JointSearch, RefusesSenselessProblems) {
  const JointProblem good = plain_problem(2, 4, 8);
  EXPECT_EQ(error_of(good), "");
  JointProblem bad = good;
  bad.placements.clear();
  EXPECT_NE(error_of(bad).find("at least one placement"), std::string::npos);
  bad = good;
  bad.placements.push_back(linear(3));
  EXPECT_NE(error_of(bad).find("same ranks"), std::string::npos);
  bad = good;
  bad.rank_slowness = {1.0, 0.0};
  EXPECT_NE(error_of(bad).find("slowness"), std::string::npos);
  bad = good;
  bad.model.blocks[3].cost.backward_input_seconds = -1.0;
  EXPECT_NE(error_of(bad).find("block 3"), std::string::npos);
  bad = good;
  bad.model.head.resident_bytes = -1;
  EXPECT_NE(error_of(bad).find("the head"), std::string::npos);
  bad = good;
  bad.blocks_per_stage = std::vector<int>{1, 2};
  EXPECT_NE(error_of(bad).find("sum to the 4 blocks"), std::string::npos);
  bad.blocks_per_stage = std::vector<int>{1, 2, 1};
  EXPECT_NE(error_of(bad).find("names 3 stages"), std::string::npos);
}

}  // namespace
}  // namespace halfpipe::schedule
