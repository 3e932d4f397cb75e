// SPDX-License-Identifier: Apache-2.0
// What users get wrong under mpirun: one message of ours for all ranks, and no rank that hangs.
#include <csignal>

#include "tests/tools/command_fixture.h"

namespace halfpipe::tools {
namespace {

namespace fs = std::filesystem;

using BadInputMpi = CommandTest;

TEST_F(BadInputMpi, OneRankReportsForAll) {
  struct Case {
    int num_ranks;
    Arguments arguments;
    std::vector<std::string> parts;
  };
  const std::vector<Case> cases = {
      {3, train({"parallel.pipeline=4"}), {"4 ranks", "has 3", "mpirun -n 4"}},
      {2, train({"data.text=absent.txt"}), {"absent.txt"}},
      {2, train({"parallel.data=2"}), {"parallel.data (2)"}},
      {2, train({"output.dir=text.txt/below"}), {"output.dir (text.txt/below)"}},
      {2, train({"model.init_from=absent"}), {"absent"}},
      {2, train({}) + Arguments{"--resume", "absent"}, {"absent"}},
      {2, train({}) + Arguments{"--local-ranks", "2"}, {"--local-ranks (2)", "2 ranks"}},
      {2, {"train", "run.yaml", "--sett", "train.steps=1"}, {"--sett"}},
      {2, {"trian", "run.yaml"}, {"trian", "train"}}};
  for (const Case& bad : cases) {
    EXPECT_TRUE(refused(start_mpi(bad.num_ranks, bad.arguments)->wait(20.0), 2, bad.parts));
  }
}

TEST_F(BadInputMpi, ACheckpointThatCannotBeWrittenEndsTheJob) {
  const auto command = start_mpi(2, train({"train.steps=1000000", "train.evaluate_every=0"}));
  ASSERT_TRUE(wait_for_step(path("out"), 5, 30.0));
  fs::remove_all(path("out/checkpoints"));
  write("out/checkpoints", "a file");
  command->signal(SIGUSR1);
  EXPECT_TRUE(refused(command->wait(20.0), 1, {"out/checkpoints"}));
}

TEST_F(BadInputMpi, MetricsThatCannotBeWrittenEndTheJob) {
  fs::create_directories(path("out"));
  fs::create_symlink("/dev/full", path("out/metrics.jsonl"));
  EXPECT_TRUE(refused(start_mpi(2, train({}))->wait(20.0), 1, {"metrics.jsonl"}));
}

}  // namespace
}  // namespace halfpipe::tools
