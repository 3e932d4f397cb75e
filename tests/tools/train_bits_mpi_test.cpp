// SPDX-License-Identifier: Apache-2.0
// The same losses and parameters, bit for bit, from processes under mpirun as from one process.
#include "tests/tools/command_fixture.h"

namespace halfpipe::tools {
namespace {

using TrainBitsMpi = CommandTest;

/// The settings of a run with these ranks and threads, in a folder named after it.
Arguments job(const std::string& schedule, int num_ranks, int num_threads) {
  return {"schedule.name=" + schedule, "parallel.pipeline=" + std::to_string(num_ranks),
          "device.threads_per_rank=" + std::to_string(num_threads),
          "output.dir=" + schedule + "-" + std::to_string(num_ranks)};
}

TEST_F(TrainBitsMpi, AreThoseOfOneProcessUnderEverySchedule) {
  ASSERT_TRUE(succeeded(run(train_local(1, {"output.dir=one"}))));
  const Metrics one = read_metrics(path("one"));
  ASSERT_EQ(one.losses.size(), 20U);
  for (const std::string schedule : {"gpipe", "1f1b", "interleaved", "zb-1p", "zb-2p", "v-min",
                                     "v-half", "v-zb", "1f1b-v", "auto"}) {
    for (const int num_ranks : {1, 2, 4}) {
      SCOPED_TRACE(schedule + " on " + std::to_string(num_ranks));
      ASSERT_TRUE(succeeded(run_mpi(num_ranks, train(job(schedule, num_ranks, 1)))));
      expect_same_run(one, read_metrics(path(schedule + "-" + std::to_string(num_ranks))));
    }
  }
}

TEST_F(TrainBitsMpi, AreThoseOfOneThread) {
  // 2048 tokens per micro-batch: long sums, which a library may split among threads.
  const Arguments settings = {"model.seq_len=128", "train.micro_batch_size=16",
                              "train.evaluate_every=0", "train.steps=3"};
  ASSERT_TRUE(succeeded(run(train_local(1, settings + Arguments{"output.dir=one"}))));
  ASSERT_TRUE(succeeded(run_mpi(2, train(settings + job("v-half", 2, 2)))));
  expect_same_run(read_metrics(path("one")), read_metrics(path("v-half-2")));
}

TEST_F(TrainBitsMpi, OneProcessWithoutALauncherIsARank) {
  ASSERT_TRUE(succeeded(run(train({"parallel.pipeline=1", "output.dir=alone"}))));
  ASSERT_TRUE(succeeded(run_mpi(1, train({"parallel.pipeline=1", "output.dir=launched"}))));
  expect_same_run(read_metrics(path("alone")), read_metrics(path("launched")));
}

}  // namespace
}  // namespace halfpipe::tools
