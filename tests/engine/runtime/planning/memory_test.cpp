// SPDX-License-Identifier: Apache-2.0
// Planned equals measured, and what the schedules promise about memory.
#include <gtest/gtest.h>

#include <algorithm>
#include <utility>

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

TEST(OptimizerMemory, IsHalfWithMomentsInBFloat16) {
  config::RunConfig config = small_config("1f1b", 2);
  config.model.hidden_size = 96;  // so that every moment is a whole number of alignments
  config.model.vocab_size = 32;
  const RunRecord full = run_locally(config, 1);
  config.optimizer.moments = DType::kBFloat16;
  const RunRecord half = run_locally(config, 1);
  EXPECT_EQ(half.measured, half.planned);
  for (std::size_t rank = 0; rank < half.measured.size(); ++rank) {
    EXPECT_EQ(2 * half.measured[rank].optimizer, full.measured[rank].optimizer) << rank;
    EXPECT_EQ(half.measured[rank].total() + half.measured[rank].optimizer,
              full.measured[rank].total())
        << rank;
  }
}

/// Measured activation peak of the heaviest rank, without the head: stages hold equally many
/// blocks, so under a V placement every rank keeps the same but for the head, which rank 0 has, and
/// under 1F1B rank 0 keeps most and has no head.
double measured_peak_of_blocks(const std::string& schedule, int p) {
  const bool v_placement = schedule != "1f1b";
  config::RunConfig config = small_config(schedule, p);
  const int num_stages = v_placement ? 2 * p : p;
  config.model.num_layers = 2 * p;
  config.model.seq_len = 16;  // so that every saved tensor is a whole number of alignments
  config.model.hidden_size = 96;
  config.train.micro_batch_size = 1;
  config.train.global_batch_size = 4 * p;
  config.parallel.layers_per_stage =
      std::vector<int>(static_cast<std::size_t>(num_stages), config.model.num_layers / num_stages);
  const RunRecord record = run_locally(config, 1);
  std::int64_t peak = 0;
  const std::size_t head_rank = v_placement ? 0 : static_cast<std::size_t>(p - 1);
  for (std::size_t rank = 0; rank < record.measured.size(); ++rank) {
    if (rank != head_rank) peak = std::max(peak, record.measured[rank].activations);
  }
  return static_cast<double>(peak);
}

TEST(ActivationMemory, OfVSchedulesIsTheStatedShareOfOneFOneB) {
  // Row statistics (4 + NH floats beside 16 C) are released by B already, so a schedule that keeps
  // micro-batches between B and W may need a little less than its share of units.
  constexpr double kStatisticsShare = (4.0 + 3.0) / (16.0 * 96.0);
  for (const auto& [p, v_half_share] : {std::pair{4, 0.75}, std::pair{8, 0.625}}) {
    const double one_f_one_b = measured_peak_of_blocks("1f1b", p);
    EXPECT_NEAR(measured_peak_of_blocks("v-half", p) / one_f_one_b, v_half_share, kStatisticsShare);
    EXPECT_NEAR(measured_peak_of_blocks("v-min", p) / one_f_one_b, 0.5, kStatisticsShare);
  }
}

}  // namespace
}  // namespace halfpipe::runtime
