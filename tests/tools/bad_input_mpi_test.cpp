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
      {2, train({"parallel.tensor=4"}), {"parallel.tensor (4)"}},
      {2, train({"output.dir=text.txt/below"}), {"output.dir (text.txt/below)"}},
      {2, train({"model.init_from=absent"}), {"absent"}},
      {2, train({}) + Arguments{"--resume", "absent"}, {"absent"}},
      {2, train({}) + Arguments{"--local-ranks", "2"}, {"--local-ranks (2)", "2 ranks"}},
      {2, {"train", "run.yaml", "--sett", "train.steps=1"}, {"--sett"}},
      {2, {"trian", "run.yaml"}, {"trian", "train"}},
      // No ranks, so each process finds it for itself.
      {2, {"config", "absent.yaml"}, {"absent.yaml"}},
      {2, {"plan", "run.yaml", "--set", "parallel.tensor=4"}, {"parallel.tensor (4)"}},
      {2, {"generate", "absent"}, {"absent"}}};
  for (const Case& bad : cases) {
    EXPECT_TRUE(refused(start_mpi(bad.num_ranks, bad.arguments)->wait(20.0), 2, bad.parts));
  }
}

// Each rank reads its own command line; without a comparison they would train a mixture, or write
// beyond the buffers of a neighbour with other sizes.
TEST_F(BadInputMpi, RanksOfOneJobHaveOneConfiguration) {
  write("other.txt", read("text.txt").substr(1));
  struct Case {
    Arguments second;
    std::vector<std::string> parts;
  };
  const std::vector<Case> cases = {
      {train({"train.seed=2"}), {"train.seed", "1 on rank 0, 2 on rank 1"}},
      {train({"model.hidden_size=64"}), {"model.hidden_size", "32 on rank 0, 64 on rank 1"}},
      {train({"parallel.layers_per_stage=[0, 1, 1, 2]"}),
       {"parallel.layers_per_stage", "auto on rank 0, [0, 1, 1, 2] on rank 1"}},
      {train({"parallel.pipeline=3"}), {"parallel.pipeline", "2 on rank 0, 3 on rank 1"}},
      {train({"data.text=other.txt"}), {"data.text", "[text.txt] on rank 0"}},
      {train({"output.dir=elsewhere"}), {"output.dir", "out on rank 0, elsewhere on rank 1"}},
      {train({}) + Arguments{"--resume"}, {"--resume", "not given on rank 0, auto on rank 1"}}};
  for (const Case& bad : cases) {
    EXPECT_TRUE(refused(start_mpi_by_rank({{train({})}, {bad.second}})->wait(20.0), 2, bad.parts));
    EXPECT_FALSE(fs::exists(path("out/metrics.jsonl"))) << "training has begun";
  }
}

TEST_F(BadInputMpi, ThreadsMayDifferBetweenRanks) {
  const Arguments other = train({"train.steps=2", "device.threads_per_rank=2"});
  EXPECT_TRUE(succeeded(start_mpi_by_rank({{train({"train.steps=2"})}, {other}})->wait(20.0)));
}

// The same configuration, but other files below the same names.
TEST_F(BadInputMpi, RanksOfOneJobHaveTheSameData) {
  write("elsewhere/run.yaml", read("run.yaml"));
  write("elsewhere/text.txt", "L" + read("text.txt").substr(1));
  const auto command = start_mpi_by_rank({{train({})}, {train({}), "elsewhere"}});
  EXPECT_TRUE(refused(command->wait(20.0), 2, {"data.text: the training split", "rank 1"}));
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
