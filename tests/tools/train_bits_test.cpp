// SPDX-License-Identifier: Apache-2.0
// The same losses at every step and the same parameters, bit for bit, whatever schedule, number of
// ranks (threads of one process) and threads per rank.
#include <filesystem>
#include <string>
#include <vector>

#include "tests/tools/command_fixture.h"

namespace halfpipe::tools {
namespace {

using TrainBits = CommandTest;

TEST_F(TrainBits, TheLossFalls) {
  ASSERT_TRUE(succeeded(run(train_local(1, {}))));
  const Metrics metrics = read_metrics(path("out"));
  ASSERT_EQ(metrics.losses.size(), 20U);
  EXPECT_NEAR(metrics.losses.at(1), 5.545, 0.2);  // ln 256: it knows nothing yet
  EXPECT_LT(metrics.losses.at(20), metrics.losses.at(1) - 0.5);
  EXPECT_EQ(metrics.validation_losses.size(), 2U);
}

TEST_F(TrainBits, AreTheSameOnEveryPipelineAndUnderEverySchedule) {
  ASSERT_TRUE(succeeded(run(train_local(1, {"output.dir=one", "schedule.name=gpipe"}))));
  const Metrics one = read_metrics(path("one"));
  ASSERT_EQ(one.losses.size(), 20U);
  for (const int ranks : {1, 2, 4}) {
    for (const std::string schedule : {"gpipe", "1f1b", "interleaved", "zb-1p", "zb-2p", "v-min",
                                       "v-half", "v-zb", "1f1b-v", "auto"}) {
      SCOPED_TRACE(schedule + " on " + std::to_string(ranks));
      const std::string dir = schedule + "-" + std::to_string(ranks);
      ASSERT_TRUE(
          succeeded(run(train_local(ranks, {"output.dir=" + dir, "schedule.name=" + schedule}))));
      expect_same_run(one, read_metrics(path(dir)));
    }
  }
}

TEST_F(TrainBits, AreTheSameForEveryNumberOfThreads) {
  // 2048 tokens per micro-batch: long sums, which a library may split among threads.
  const Arguments settings = {"model.seq_len=128", "train.micro_batch_size=16",
                              "train.evaluate_every=0", "train.steps=3"};
  ASSERT_TRUE(succeeded(run(train_local(1, settings + Arguments{"output.dir=one"}))));
  for (const std::string threads : {"2", "3"}) {
    const Arguments more = {"output.dir=threads-" + threads, "device.threads_per_rank=" + threads};
    ASSERT_TRUE(succeeded(run(train_local(2, settings + more))));
    expect_same_run(read_metrics(path("one")), read_metrics(path("threads-" + threads)));
  }
}

TEST_F(TrainBits, AreTheSameWhateverIsComputedAgain) {
  for (const std::string precision : {"float32", "bf16"}) {
    const Arguments settings = {"train.precision=" + precision, "train.steps=6"};
    const std::string reference = precision + "-none";
    ASSERT_TRUE(succeeded(run(train_local(1, settings + Arguments{"output.dir=" + reference}))));
    const std::vector<Arguments> cases = {{"1", "1f1b", "selective"},
                                          {"1", "v-zb", "full"},
                                          {"2", "1f1b", "full"},
                                          {"2", "v-zb", "selective"},
                                          {"4", "interleaved", "full"},
                                          {"4", "auto", "full"},
                                          {"2", "v-half", "[full, none, selective, full]"}};
    for (const Arguments& each : cases) {
      const std::string name = precision + "-" + each[0] + "-" + each[1] + "-" + each[2];
      SCOPED_TRACE(name);
      ASSERT_TRUE(succeeded(run(train_local(
          std::stoi(each[0]), settings + Arguments{"output.dir=run", "schedule.name=" + each[1],
                                                   "train.recompute=" + each[2]}))));
      expect_same_run(read_metrics(path(reference)), read_metrics(path("run")));
      std::filesystem::remove_all(path("run"));
    }
  }
}

TEST_F(TrainBits, AreTheSameForAnUntiedModelWithoutBiases) {
  const Arguments settings = {"model.bias=false", "model.tie_embeddings=false",
                              "data.vocabulary=characters"};
  ASSERT_TRUE(succeeded(run(train_local(1, settings + Arguments{"output.dir=one"}))));
  ASSERT_TRUE(succeeded(
      run(train_local(4, settings + Arguments{"output.dir=four", "schedule.name=zb-1p"}))));
  expect_same_run(read_metrics(path("one")), read_metrics(path("four")));
}

}  // namespace
}  // namespace halfpipe::tools
