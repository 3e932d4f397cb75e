// SPDX-License-Identifier: Apache-2.0
// The same losses and parameters, bit for bit, from processes under mpirun as from one process.
#include "tests/tools/command_fixture.h"

namespace halfpipe::tools {
namespace {

using TrainBitsMpi = CommandTest;

struct Layout {
  int num_ranks;
  std::string schedule;
  std::string threads;
};

TEST_F(TrainBitsMpi, AreThoseOfOneProcess) {
  ASSERT_TRUE(succeeded(run(train_local(1, {"output.dir=one"}))));
  const Metrics one = read_metrics(path("one"));
  ASSERT_EQ(one.losses.size(), 20U);
  const std::vector<Layout> layouts = {{2, "v-half", "1"},      {2, "1f1b", "2"},
                                       {4, "v-half", "2"},      {4, "zb-1p", "1"},
                                       {4, "interleaved", "1"}, {4, "v-min", "1"}};
  for (const Layout& layout : layouts) {
    const std::string ranks = std::to_string(layout.num_ranks);
    const std::string dir = layout.schedule + "-" + ranks;
    SCOPED_TRACE(dir);
    const CommandResult result =
        run_mpi(layout.num_ranks,
                train({"parallel.pipeline=" + ranks, "schedule.name=" + layout.schedule,
                       "device.threads_per_rank=" + layout.threads, "output.dir=" + dir}));
    ASSERT_TRUE(succeeded(result));
    expect_same_run(one, read_metrics(path(dir)));
  }
}

TEST_F(TrainBitsMpi, OneProcessWithoutALauncherIsARank) {
  ASSERT_TRUE(succeeded(run(train({"parallel.pipeline=1", "output.dir=alone"}))));
  ASSERT_TRUE(succeeded(run_mpi(1, train({"parallel.pipeline=1", "output.dir=launched"}))));
  expect_same_run(read_metrics(path("alone")), read_metrics(path("launched")));
}

}  // namespace
}  // namespace halfpipe::tools
