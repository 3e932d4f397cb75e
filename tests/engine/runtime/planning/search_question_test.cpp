// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/planning/search_question.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/runtime/planning/job.h"
#include "engine/runtime/ranks/machine_memory.h"
#include "kernels/core/error.h"
#include "kernels/cpu/cpu_backend.h"
#include "parallel/schedule/search/layered_model.h"
#include "tests/engine/runtime/small_job.h"

namespace halfpipe::runtime {
namespace {

using schedule::Placement;
using schedule::PlacementKind;

TEST(SearchQuestion, ChoosesAmongLineZigzagAndRound) {
  config::RunConfig config = small_config("auto", 4);
  config.model.num_layers = 14;
  EXPECT_EQ(searched_placements(config),
            (std::vector<Placement>{{PlacementKind::kLinear, 4, 1},
                                    {PlacementKind::kV, 4, 2},
                                    {PlacementKind::kInterleaved, 4, 2},
                                    {PlacementKind::kZigzag, 4, 4}}));
  config.model.num_layers = 3;  // too few for four chunks, and two of them have empty stages
  EXPECT_EQ(searched_placements(config).size(), 3U);
  config.parallel.layers_per_stage = {1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 0};
  EXPECT_EQ(searched_placements(config),
            (std::vector<Placement>{{PlacementKind::kZigzag, 4, 3},
                                    {PlacementKind::kInterleaved, 4, 3}}));
  config.parallel.pipeline = 1;
  config.parallel.layers_per_stage.reset();
  EXPECT_EQ(searched_placements(config).size(), 1U);
}

// 3 x 4 stages x 1398101 micro-batches are 16777212 passes; four chunks, or two, would be more.
TEST(SearchQuestion, LeavesOutPlansOfTooManyPasses) {
  config::RunConfig config = small_config("auto", 4);
  config.model.num_layers = 14;
  config.train.micro_batch_size = 1;
  config.train.global_batch_size = 1398101;
  EXPECT_EQ(searched_placements(config), (std::vector<Placement>{{PlacementKind::kLinear, 4, 1}}));
}

// Without a limit every rank has its share of the machine, and what stays there all the time is
// what a plan counts.
TEST(SearchQuestion, CountsResidentsAsAPlanDoes) {
  for (const bool tied : {true, false}) {
    for (const char* name : {"1f1b", "v-half", "interleaved"}) {
      config::RunConfig config = small_config(name, 2);
      config.model.tie_embeddings = tied;
      const Job job = make_job(config);
      const std::vector<RankMemory> memory = plan_memory(job, *cpu::make_cpu_backend(1));
      ASSERT_TRUE(limit_counts_residents(config));
      const schedule::JointProblem problem = joint_problem_of(config);
      std::vector<int> blocks;
      for (const model::StageLayers& layers : job.stage_map) blocks.push_back(layers.num_blocks);
      const schedule::SearchProblem whole = schedule::problem_of(problem, {job.placement, blocks});
      for (std::size_t rank = 0; rank < memory.size(); ++rank) {
        const RankMemory& m = memory[rank];
        EXPECT_EQ(problem.memory_limit[rank] - whole.memory_limit[rank],
                  m.parameters + m.gradients + m.optimizer + m.batch)
            << name << " rank " << rank << (tied ? " tied" : " untied");
      }
    }
  }
}

TEST(SearchQuestion, SharesTheMachineAmongItsRanks) {
  const config::RunConfig config = small_config("auto", 3);
  const double share = 0.9 * static_cast<double>(memory_of_machine()) / ranks_on_this_machine(3);
  for (const std::int64_t bytes : joint_problem_of(config).memory_limit) {
    EXPECT_NEAR(static_cast<double>(bytes), share, 1.0);
  }
}

TEST(SearchQuestion, TakesWhatEachRankFindsOnItsGpu) {
  config::RunConfig config = small_config("auto", 3);
  config.device.kind = "cuda";
  config.device.free_bytes = {3000, 1000, 2000};
  EXPECT_EQ(joint_problem_of(config).memory_limit, (std::vector<std::int64_t>{2700, 900, 1800}));
  config.device.free_bytes.clear();
  try {
    (void)joint_problem_of(config);
    ADD_FAILURE() << "nobody asked a GPU";
  } catch (const ConfigError& error) {
    EXPECT_EQ(std::string(error.what())
                  .find("schedule.memory_limit is missing: a plan with "
                        "device.kind cuda and schedule.name auto asks no GPU"),
              0U)
        << error.what();
  }
}

TEST(SearchQuestion, TakesALimitForEachRank) {
  config::RunConfig config = small_config("auto", 3);
  config.schedule.rank_memory_limits = {"2 MiB", "1 unit", "50%"};
  EXPECT_FALSE(limit_counts_residents(config));
  const std::vector<std::int64_t> limit = joint_problem_of(config).memory_limit;
  config.schedule.rank_memory_limits.clear();
  config.schedule.memory_limit = "3 units";  // as much as 1F1B's fullest of three ranks
  const std::vector<std::int64_t> whole = joint_problem_of(config).memory_limit;
  ASSERT_EQ(limit.size(), 3U);
  EXPECT_EQ(limit[0], 2 << 20);
  EXPECT_NEAR(static_cast<double>(limit[1]), static_cast<double>(whole[1]) / 3.0, 1.0);
  EXPECT_NEAR(static_cast<double>(limit[2]), static_cast<double>(whole[2]) / 2.0, 1.0);
}

}  // namespace
}  // namespace halfpipe::runtime
