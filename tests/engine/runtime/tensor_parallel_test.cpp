// SPDX-License-Identifier: Apache-2.0
// Ranks that share layers compute what one rank does, up to the order of sums, and for a number of
// them the same bits whatever else the mesh and the schedule are.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "tests/engine/runtime/small_job.h"

namespace halfpipe::runtime {
namespace {

constexpr int kSteps = 8;

/// Sums of matrix products are cut among ranks: float32 rounding, carried through some steps.
constexpr double kTolerance = 1e-5;

config::RunConfig shared_config(const std::string& schedule, int pipeline, int tensor) {
  config::RunConfig config = small_config(schedule, pipeline);
  config.model.num_heads = 4;
  config.parallel.tensor = tensor;
  return config;
}

void expect_near(const RunRecord& one, const RunRecord& other) {
  ASSERT_EQ(one.losses.size(), other.losses.size());
  for (std::size_t step = 0; step < one.losses.size(); ++step) {
    EXPECT_NEAR(other.losses[step] / one.losses[step], 1.0, kTolerance) << "step " << step;
    EXPECT_NEAR(other.norms[step] / one.norms[step], 1.0, 10 * kTolerance) << "step " << step;
  }
}

const RunRecord& reference(bool tied) {
  static const auto run = [](bool tie) {
    config::RunConfig config = shared_config("1f1b", 1, 1);
    config.model.tie_embeddings = tie;
    return run_locally(config, kSteps);
  };
  static const RunRecord kTied = run(true);
  static const RunRecord kUntied = run(false);
  return tied ? kTied : kUntied;
}

struct Case {
  int data;
  int pipeline;
  int tensor;
  bool tied;
};

std::string name_of_case(const ::testing::TestParamInfo<Case>& info) {
  const Case& c = info.param;
  return "dp" + std::to_string(c.data) + "_pp" + std::to_string(c.pipeline) + "_tp" +
         std::to_string(c.tensor) + (c.tied ? "_tied" : "_untied");
}

class Meshes : public ::testing::TestWithParam<Case> {};

// A vocabulary of 29 leaves padding on the last rank of two, and a rank of four with nothing else.
TEST_P(Meshes, HaveTheLossesAndNormsOfOneRank) {
  config::RunConfig config = shared_config("v-half", GetParam().pipeline, GetParam().tensor);
  config.parallel.data = GetParam().data;
  config.model.tie_embeddings = GetParam().tied;
  const RunRecord record = run_locally(config, kSteps);
  expect_near(reference(GetParam().tied), record);
  EXPECT_NE(record.parameter_hash, reference(GetParam().tied).parameter_hash);
  EXPECT_EQ(record.measured, record.planned);
  EXPECT_TRUE(record.same_training(run_locally(config, kSteps)));  // nothing depends on timing
}

INSTANTIATE_TEST_SUITE_P(UpToEightRanks,
                         Meshes,
                         ::testing::Values(Case{1, 1, 2, true},
                                           Case{1, 1, 4, true},
                                           Case{1, 1, 4, false},
                                           Case{1, 2, 2, true},
                                           Case{1, 2, 2, false},
                                           Case{1, 4, 2, true},
                                           Case{1, 2, 4, true},
                                           Case{2, 1, 2, true},
                                           Case{2, 1, 4, true},
                                           Case{4, 1, 2, true},
                                           Case{2, 2, 2, true},
                                           Case{2, 2, 2, false}),
                         name_of_case);

std::string name_of_type(const ::testing::TestParamInfo<DType>& info) {
  return info.param == DType::kFloat32 ? "float32" : "bf16";
}

class SharedLayers : public ::testing::TestWithParam<DType> {
 protected:
  static RunRecord run(config::RunConfig config) {
    config.model.dtype = GetParam();
    const RunRecord record = run_locally(config, kSteps);
    EXPECT_EQ(record.measured, record.planned);
    return record;
  }
};

TEST_P(SharedLayers, HaveTheSameBitsUnderEveryScheduleAndOnEveryPipeline) {
  const RunRecord one = run(shared_config("1f1b", 1, 2));
  for (const std::string schedule : {"1f1b", "interleaved", "zb-1p", "v-half", "v-zb"}) {
    for (const int pipeline : {2, 4}) {
      SCOPED_TRACE(schedule + " on " + std::to_string(pipeline));
      EXPECT_TRUE(one.same_training(run(shared_config(schedule, pipeline, 2))));
    }
  }
}

TEST_P(SharedLayers, HaveTheSameBitsWithAShardedOptimizer) {
  config::RunConfig config = shared_config("v-half", 2, 2);
  config.parallel.data = 2;
  const RunRecord whole = run(config);
  config.optimizer.zero_stage = 1;
  const RunRecord sharded = run(config);
  EXPECT_TRUE(whole.same_training(sharded));
  EXPECT_LT(sharded.measured.front().optimizer, whole.measured.front().optimizer);
}

TEST_P(SharedLayers, HaveTheSameBitsInEveryOrderOfTheAxes) {
  config::RunConfig config = shared_config("v-half", 2, 2);
  config.parallel.data = 2;
  const RunRecord one = run(config);
  for (const std::string order : {"pipeline-data-tensor", "tensor-pipeline-data"}) {
    SCOPED_TRACE(order);
    config.parallel.order = order;
    EXPECT_TRUE(one.same_training(run(config)));
  }
}

TEST_P(SharedLayers, HaveTheSameBitsHoweverMuchTheyKeep) {
  const RunRecord one = run(shared_config("v-half", 2, 2));
  std::vector<std::int64_t> bytes;
  for (const bool gather_again : {true, false}) {
    for (const model::Recompute recompute :
         {model::Recompute::kNone, model::Recompute::kSelective, model::Recompute::kFull}) {
      config::RunConfig config = shared_config("v-half", 2, 2);
      config.parallel.gather_again = gather_again;
      config.model.recompute = {recompute};
      const RunRecord record = run(config);
      EXPECT_TRUE(one.same_training(record)) << gather_again << static_cast<int>(recompute);
      bytes.push_back(record.measured.front().activations);
    }
  }
  EXPECT_EQ(bytes.front(), one.measured.front().activations);
  EXPECT_LT(bytes[0], bytes[3]);  // what is gathered and kept is more
}

INSTANTIATE_TEST_SUITE_P(Types,
                         SharedLayers,
                         ::testing::Values(DType::kFloat32, DType::kBFloat16),
                         name_of_type);

TEST(SharedMemory, IsDividedAmongTheRanks) {
  // Large enough that norms and what is gathered count for little.
  config::RunConfig config = shared_config("1f1b", 1, 1);
  config.model.hidden_size = 128;
  config.model.seq_len = 64;
  config.model.vocab_size = 64;
  const RunRecord one = run_locally(config, 1);
  config.parallel.tensor = 4;
  const RunRecord four = run_locally(config, 1);
  const auto share = [&](std::int64_t RankMemory::*kind) {
    return static_cast<double>(four.measured.front().*kind) /
           static_cast<double>(one.measured.front().*kind);
  };
  EXPECT_NEAR(share(&RankMemory::parameters), 0.25, 0.02);
  EXPECT_NEAR(share(&RankMemory::gradients), 0.25, 0.02);
  EXPECT_NEAR(share(&RankMemory::optimizer), 0.25, 0.02);
  EXPECT_NEAR(share(&RankMemory::activations), 0.25, 0.02);
}

}  // namespace
}  // namespace halfpipe::runtime
