// SPDX-License-Identifier: Apache-2.0
// Planned equals measured, and what the schedules promise about memory.
#include <gtest/gtest.h>

#include <algorithm>

#include "parallel/schedule/build_plan.h"
#include "parallel/schedule/catalogue.h"
#include "tests/engine/runtime/small_job.h"

namespace halfpipe::runtime {
namespace {

class Memory : public ::testing::TestWithParam<std::tuple<std::string_view, int>> {};

TEST_P(Memory, IsMeasuredAsPlannedOnEveryRank) {
  const auto& [schedule, pipeline] = GetParam();
  const RunRecord record = run_locally(small_config(std::string(schedule), pipeline), 2);
  for (std::size_t rank = 0; rank < record.planned.size(); ++rank) {
    EXPECT_EQ(record.measured[rank].parameters, record.planned[rank].parameters) << rank;
    EXPECT_EQ(record.measured[rank].gradients, record.planned[rank].gradients) << rank;
    EXPECT_EQ(record.measured[rank].optimizer, record.planned[rank].optimizer) << rank;
    EXPECT_EQ(record.measured[rank].activations, record.planned[rank].activations) << rank;
    EXPECT_EQ(record.measured[rank].activations_arena, record.planned[rank].activations_arena)
        << rank;
    EXPECT_EQ(record.measured[rank].communication, record.planned[rank].communication) << rank;
    EXPECT_EQ(record.measured[rank].workspace, record.planned[rank].workspace) << rank;
    EXPECT_EQ(record.measured[rank].batch, record.planned[rank].batch) << rank;
    EXPECT_GT(record.measured[rank].activations, 0) << rank;
  }
}

INSTANTIATE_TEST_SUITE_P(Catalogue,
                         Memory,
                         ::testing::Combine(::testing::ValuesIn(schedule::schedule_names().begin(),
                                                                schedule::schedule_names().end()),
                                            ::testing::Values(1, 2, 4)));

/// Highest activation peak of a rank, without the head: with a whole number of blocks in every
/// stage, all stages then keep the same.
double peak_of_blocks(const std::string& schedule, int p) {
  config::RunConfig config = small_config(schedule, p);
  const int num_stages = schedule == "1f1b" ? p : 2 * p;
  config.model.num_layers = 2 * p;
  config.model.hidden_size = 768;
  config.model.num_heads = 12;
  config.train.micro_batch_size = 1;
  config.train.global_batch_size = 4 * p;
  config.parallel.layers_per_stage =
      std::vector<int>(static_cast<std::size_t>(num_stages), config.model.num_layers / num_stages);
  const Job job = make_job(config);
  schedule::CostModel costs = job.costs;
  costs.stages.back() = costs.stages.front();
  const schedule::Plan plan = schedule::build_plan(
      schedule::make_orders(schedule, p, config.num_micro_batches(), 2, costs), costs);
  std::int64_t peak = 0;
  for (const schedule::RankPlan& rank : plan.ranks)
    peak = std::max(peak, rank.peak_activation_bytes);
  return static_cast<double>(peak);
}

TEST(ActivationMemory, OfVSchedulesIsTheStatedShareOfOneFOneB) {
  // Row statistics (4 + NH floats beside 16 C) are released by B already, so a schedule that keeps
  // micro-batches between B and W may need a little less than its share of units.
  constexpr double kStatisticsShare = (4.0 + 12.0) / (16.0 * 768.0);
  EXPECT_NEAR(peak_of_blocks("v-half", 4) / peak_of_blocks("1f1b", 4), 0.75, kStatisticsShare);
  EXPECT_NEAR(peak_of_blocks("v-min", 4) / peak_of_blocks("1f1b", 4), 0.5, kStatisticsShare);
  EXPECT_NEAR(peak_of_blocks("v-half", 8) / peak_of_blocks("1f1b", 8), 0.625, kStatisticsShare);
  EXPECT_NEAR(peak_of_blocks("v-min", 8) / peak_of_blocks("1f1b", 8), 0.5, kStatisticsShare);
}

}  // namespace
}  // namespace halfpipe::runtime
