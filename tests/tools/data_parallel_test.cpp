// SPDX-License-Identifier: Apache-2.0
// Replicas of a pipeline: the losses of one replica up to rounding, and for a number of replicas
// the same bits on every pipeline, under every schedule, in threads and processes, and on resume.
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "tests/tools/mesh_command_fixture.h"

namespace halfpipe::tools {
namespace {

namespace fs = std::filesystem;

// float32 gradients summed in another order, and 20 steps of AdamW.
constexpr double kTolerance = 1e-5;

using DataParallel = MeshCommand;

TEST_F(DataParallel, HasTheLossesOfOneReplica) {
  const Metrics one = metrics({1, 1, 1}, "one");
  ASSERT_EQ(one.losses.size(), 20U);
  ASSERT_FALSE(one.validation_losses.empty());
  for (const int replicas : {2, 4}) {
    SCOPED_TRACE(replicas);
    const Metrics several = metrics({replicas, 1, 1}, "replicas-" + std::to_string(replicas));
    expect_near_run(one, several, kTolerance);
    EXPECT_NE(one.parameter_hash, several.parameter_hash);  // they do add in another order
  }
}

TEST_F(DataParallel, HasTheSameBitsOnEveryPipelineAndUnderEverySchedule) {
  for (const std::string precision : {"float32", "bf16"}) {
    const Arguments settings = {"train.precision=" + precision, "train.steps=6",
                                "schedule.name=1f1b"};
    const std::string reference = "two-" + precision;
    const Metrics two = metrics({2, 1, 1}, reference, settings);
    expect_same_run(two, metrics({2, 1, 1}, "again-" + precision, settings));
    for (const std::string schedule : {"1f1b", "v-half", "v-zb", "interleaved"}) {
      for (const int pipeline : {2, 4}) {
        const std::string name = precision + "-" + schedule + "-" + std::to_string(pipeline);
        SCOPED_TRACE(name);
        expect_same_run(two, metrics({2, 1, pipeline}, name,
                                     settings + Arguments{"schedule.name=" + schedule}));
      }
    }
  }
}

TEST_F(DataParallel, HasTheSameBitsWithAnUntiedModelAndRecompute) {
  const Arguments settings = {"train.steps=4", "model.tie_embeddings=false", "model.bias=false"};
  const Metrics four = metrics({4, 1, 1}, "four", settings);
  expect_same_run(four, metrics({4, 1, 2}, "eight", settings + Arguments{"train.recompute=full"}));
}

TEST_F(DataParallel, HasTheSameBitsInProcesses) {
  const Metrics threads = metrics({2, 1, 2}, "threads");
  ASSERT_TRUE(succeeded(run_mpi(4, job({2, 1, 2}, {"output.dir=processes"}))));
  expect_same_run(threads, read_metrics(path("processes")));
}

TEST_F(DataParallel, GoesOnOnOtherPipelinesAndWithOtherNumbersOfReplicas) {
  const Metrics whole = metrics({2, 1, 2}, "whole", {"output.checkpoint_every=10"});
  const Arguments from = {"--resume", path("whole/checkpoints/step-00000010")};

  ASSERT_TRUE(succeeded(run_local({2, 1, 1}, {"output.dir=flat"}, from)));
  EXPECT_EQ(read_metrics(path("flat")).parameter_hash, whole.parameter_hash);

  const CommandResult one = run_local({1, 1, 2}, {"output.dir=one"}, from);
  ASSERT_TRUE(succeeded(one));
  EXPECT_NE(one.out.find("parallel.data is 1 now and was 2"), std::string::npos) << one.out;
  const Metrics single = read_metrics(path("one"));
  ASSERT_EQ(single.losses.size(), 10U);
  for (const auto& [step, loss] : single.losses) {
    EXPECT_NEAR(loss, whole.losses.at(step), kTolerance * loss) << "step " << step;
  }
}

/// Matrices of several units that replicas divide.
const Arguments kWide = {"model.hidden_size=128", "train.steps=6", "output.checkpoint_every=3"};
const Arguments kSharded = {"optimizer.zero_stage=1"};

TEST_F(DataParallel, WritesTheCheckpointsOfAWholeOptimizerWithAShardedOne) {
  for (const std::string moments : {"float32", "bf16"}) {
    const Arguments settings = kWide + Arguments{"optimizer.moments=" + moments};
    const std::string whole = "whole-" + moments;
    const std::string sharded = "sharded-" + moments;
    const Metrics expected = metrics({2, 1, 2}, whole, settings);
    expect_same_run(expected, metrics({2, 1, 2}, sharded, settings + kSharded));
    int num_files = 0;
    for (const auto& file : fs::recursive_directory_iterator(path(whole) / "checkpoints")) {
      if (file.path().extension() != ".safetensors") continue;
      const std::string inside = fs::relative(file.path(), path(whole)).string();
      EXPECT_TRUE(read(whole + "/" + inside) == read(sharded + "/" + inside)) << inside;
      ++num_files;
    }
    EXPECT_GE(num_files, 8);  // two checkpoints of two ranks
  }
}

TEST_F(DataParallel, GoesOnWithAShardedOptimizerAndWithoutOne) {
  const Metrics whole = metrics({2, 1, 2}, "whole", kWide);
  expect_same_run(whole, metrics({2, 1, 2}, "sharded", kWide + kSharded));
  const auto from = [&](const std::string& dir) {
    return Arguments{"--resume", path(dir + "/checkpoints/step-00000003")};
  };
  const auto hash_of = [&](const std::string& dir) {
    return read_metrics(path(dir)).parameter_hash;
  };
  ASSERT_TRUE(succeeded(
      run_local({2, 1, 1}, kWide + kSharded + Arguments{"output.dir=to-sharded"}, from("whole"))));
  EXPECT_EQ(hash_of("to-sharded"), whole.parameter_hash);
  ASSERT_TRUE(
      succeeded(run_local({2, 1, 1}, kWide + Arguments{"output.dir=to-whole"}, from("sharded"))));
  EXPECT_EQ(hash_of("to-whole"), whole.parameter_hash);

  // One replica, and four: from either checkpoint alike.
  ASSERT_TRUE(
      succeeded(run_local({1, 1, 2}, kWide + Arguments{"output.dir=one-a"}, from("whole"))));
  ASSERT_TRUE(
      succeeded(run_local({1, 1, 2}, kWide + Arguments{"output.dir=one-b"}, from("sharded"))));
  EXPECT_EQ(hash_of("one-a"), hash_of("one-b"));
  ASSERT_TRUE(
      succeeded(run_local({4, 1, 1}, kWide + Arguments{"output.dir=four-a"}, from("sharded"))));
  ASSERT_TRUE(succeeded(
      run_local({4, 1, 1}, kWide + kSharded + Arguments{"output.dir=four-b"}, from("whole"))));
  EXPECT_EQ(hash_of("four-a"), hash_of("four-b"));
}

TEST_F(DataParallel, HasTheSameBitsInProcessesWithAShardedOptimizer) {
  const Arguments settings = kWide + Arguments{"schedule.name=v-half"};
  const Metrics threads = metrics({2, 1, 2}, "threads", settings);
  ASSERT_TRUE(succeeded(
      run_mpi(4, job({2, 1, 2}, settings + kSharded + Arguments{"output.dir=processes"}))));
  expect_same_run(threads, read_metrics(path("processes")));
}

TEST_F(DataParallel, SaysHowLongReplicasWaitForOneAnother) {
  const CommandResult whole = run_local({2, 1, 1}, {"train.steps=2"});
  EXPECT_NE(whole.out.find("replicas        gradients exposed for "), std::string::npos);
  EXPECT_EQ(whole.out.find(", parameters for "), std::string::npos);
  fs::remove_all(path("out"));
  const CommandResult sharded = run_local({2, 1, 1}, kSharded + Arguments{"train.steps=2"});
  EXPECT_NE(sharded.out.find(", parameters for "), std::string::npos) << sharded.out;
}

TEST_F(DataParallel, SaysHowRanksAreNumberedAndHowManyItNeeds) {
  const CommandResult result = run_local({2, 1, 2}, {"train.steps=1", "train.evaluate_every=0"});
  ASSERT_TRUE(succeeded(result));
  EXPECT_NE(
      result.out.find("replicas    2 of this pipeline, each with 16 of 32 sequences a step\n"
                      "order       data-pipeline-tensor: rank = replica x 2 + pipeline rank\n"),
      std::string::npos)
      << result.out;
  EXPECT_TRUE(refused(run(job({2, 1, 2}, {}) + Arguments{"--local-ranks", "2"}), 2,
                      {"parallel.pipeline (2) x parallel.data (2)", "4 ranks", "has 2"}));
}

TEST_F(DataParallel, IsPlannedWithTheBytesThatItTakes) {
  const Arguments automatic = {"device.threads_per_rank=auto", "train.steps=1",
                               "train.evaluate_every=0"};
  const CommandResult trained = run_local({2, 1, 1}, automatic);
  ASSERT_TRUE(succeeded(trained));
  const CommandResult planned = plan({2, 1, 1}, automatic);
  ASSERT_TRUE(succeeded(planned));
  EXPECT_EQ(memory_line(planned.out), memory_line(trained.out));
  EXPECT_GT(memory_line(planned.out).size(), 60U);
  const CommandResult sharded = plan({2, 1, 1}, automatic + kSharded);
  ASSERT_TRUE(succeeded(sharded));
  EXPECT_NE(memory_line(sharded.out), memory_line(planned.out));
}

TEST_F(DataParallel, RefusesWhatIsNotThereYet) {
  EXPECT_TRUE(refused(run({"plan", "run.yaml", "--sweep-memory", "--set", "schedule.name=1f1b",
                           "--set", "train.recompute=[full, none]"}),
                      2, {"train.recompute", "--sweep-memory"}));
}

}  // namespace
}  // namespace halfpipe::tools
