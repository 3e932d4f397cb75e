// SPDX-License-Identifier: Apache-2.0
// optimizer.zero_stage 1: the bits of stage 0, in less memory.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "engine/runtime/step/replica_parts.h"
#include "tests/engine/runtime/small_job.h"

namespace halfpipe::runtime {
namespace {

constexpr int kSteps = 4;

/// Matrices of one to three units that stay together, so that replicas have parts of them.
config::RunConfig config_of(int data, int pipeline, const std::string& schedule) {
  config::RunConfig config = small_config(schedule, pipeline);
  config.model.num_layers = 4;
  config.model.hidden_size = 96;
  config.model.vocab_size = 200;
  config.model.seq_len = 8;
  config.train.micro_batch_size = 1;
  config.train.global_batch_size = 12;
  config.parallel.data = data;
  return config;
}

RunRecord run(config::RunConfig config, int zero_stage) {
  config.optimizer.zero_stage = zero_stage;
  return run_locally(config, kSteps);
}

void expect_same_bits(const RunRecord& record, const RunRecord& expected) {
  EXPECT_EQ(record.losses, expected.losses);
  EXPECT_EQ(record.norms, expected.norms);
  EXPECT_EQ(record.parameter_hash, expected.parameter_hash);
  EXPECT_EQ(record.measured, record.planned);
}

struct Case {
  int data;
  int pipeline;
  std::string schedule;
};

class ShardedOptimizer : public ::testing::TestWithParam<Case> {};

TEST_P(ShardedOptimizer, HasTheBitsOfAWholeOne) {
  const auto& [data, pipeline, schedule] = GetParam();
  for (const bool tied : {true, false}) {
    config::RunConfig config = config_of(data, pipeline, schedule);
    config.model.tie_embeddings = tied;
    const RunRecord whole = run(config, 0);
    EXPECT_GT(whole.norms[0], config.optimizer.clip_grad_norm);  // it is clipped
    expect_same_bits(run(config, 1), whole);
  }
}

TEST_P(ShardedOptimizer, HasTheBitsOfAWholeOneInBFloat16) {
  const auto& [data, pipeline, schedule] = GetParam();
  config::RunConfig config = config_of(data, pipeline, schedule);
  config.model.dtype = DType::kBFloat16;
  config.optimizer.moments = DType::kBFloat16;
  expect_same_bits(run(config, 1), run(config, 0));
}

INSTANTIATE_TEST_SUITE_P(Layouts,
                         ShardedOptimizer,
                         ::testing::Values(Case{2, 1, "1f1b"},
                                           Case{3, 1, "1f1b"},
                                           Case{2, 2, "1f1b"},
                                           Case{3, 2, "1f1b"},
                                           Case{2, 1, "v-half"},
                                           Case{2, 2, "v-half"},
                                           Case{3, 2, "v-half"},
                                           Case{2, 2, "zb-2p"},
                                           Case{2, 2, "interleaved"}),
                         [](const ::testing::TestParamInfo<Case>& tested) {
                           std::string name = tested.param.schedule + "_dp" +
                                              std::to_string(tested.param.data) + "_pp" +
                                              std::to_string(tested.param.pipeline);
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

TEST(ShardedOptimizerLayouts, HaveOneResult) {
  const RunRecord flat = run(config_of(2, 1, "1f1b"), 0);
  expect_same_bits(run(config_of(2, 2, "v-half"), 1), flat);
  expect_same_bits(run(config_of(2, 4, "1f1b"), 1), flat);
}

TEST(ShardedOptimizerMemory, IsThatOfAPart) {
  for (const int data : {2, 3}) {
    const config::RunConfig config = config_of(data, 2, "v-half");
    const RunRecord whole = run(config, 0);
    const RunRecord sharded = run(config, 1);
    for (std::size_t rank = 0; rank < whole.measured.size(); ++rank) {
      const auto full = static_cast<double>(whole.measured[rank].optimizer);
      const auto part = static_cast<double>(sharded.measured[rank].optimizer);
      // Units stay together: for each of its two chunks a rank may hold one more than its share.
      constexpr double kUnitBytes = 2.0 * 4.0 * static_cast<double>(ops::kSquaresCut);
      EXPECT_GE(part, full / data) << rank;
      EXPECT_LE(part, full / data + 2.0 * kUnitBytes) << rank;
      EXPECT_EQ(whole.measured[rank].total() - sharded.measured[rank].total(),
                whole.measured[rank].optimizer - sharded.measured[rank].optimizer)
          << rank;
    }
  }
}

TEST(ShardedOptimizerParts, CutMatricesAndAreAllElementsTogether) {
  config::RunConfig config = config_of(3, 1, "1f1b");
  config.optimizer.zero_stage = 1;
  const Job job = make_job(config);
  const RankModel model(job, 0);
  const ReplicaParts parts = replica_parts(config, model);
  ASSERT_TRUE(parts.is_sharded());
  std::int64_t total = 0;
  int num_cut = 0;
  for (int replica = 0; replica < 3; ++replica) {
    std::int64_t count = 0;
    for (const optimizer::ElementRanges& ranges : parts.stepped_by(replica)) {
      count += optimizer::num_elements(ranges);
      for (const optimizer::ElementRange& range : ranges) {
        EXPECT_EQ(range.begin % ops::kSquaresCut, 0);
        num_cut += range.begin > 0 ? 1 : 0;
      }
    }
    EXPECT_GT(count, 0) << replica;
    total += count;
  }
  EXPECT_GT(num_cut, 0);
  std::int64_t expected = 0;
  for (const model::Parameter& parameter : model.parameters().all()) expected += parameter.count();
  EXPECT_EQ(total, expected);
}

}  // namespace
}  // namespace halfpipe::runtime
