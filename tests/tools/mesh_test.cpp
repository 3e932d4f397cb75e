// SPDX-License-Identifier: Apache-2.0
// Jobs whose ranks share layers: the losses of one rank up to rounding; for a number of tensor
// ranks the same bits on every pipeline, in threads and processes, and on resume; on emulated GPUs
// those of both transports, and tuned products.
#include <cstdint>
#include <filesystem>
#include <regex>
#include <string>
#include <vector>

#include "tests/tools/mesh_command_fixture.h"

namespace halfpipe::tools {
namespace {

/// float32 sums in another order, and 20 steps of AdamW.
constexpr double kTolerance = 1e-5;

class MeshTest : public MeshCommand {
 protected:
  MeshTest() {
    write("run.yaml", R"(model: {num_layers: 4, num_heads: 4, hidden_size: 32, seq_len: 16}
data: {text: text.txt}
train: {steps: 20, micro_batch_size: 4, global_batch_size: 32, evaluate_every: 10, evaluate_batches: 2}
optimizer: {learning_rate: 1.0e-3, schedule: constant}
schedule: {name: v-half}
device: {threads_per_rank: 1}
)");
  }
};

// Every mesh of up to eight ranks along axes of 1, 2 and 4.
TEST_F(MeshTest, HasTheLossesOfOneRank) {
  const Metrics one = metrics({1, 1, 1}, "one");
  ASSERT_EQ(one.losses.size(), 20U);
  ASSERT_FALSE(one.validation_losses.empty());
  for (const int data : {1, 2, 4}) {
    for (const int tensor : {1, 2, 4}) {
      for (const int pipeline : {1, 2, 4}) {
        const Mesh mesh{data, tensor, pipeline};
        if (mesh.num_ranks() > 8) continue;
        SCOPED_TRACE(mesh.name());
        const Metrics record = metrics(mesh, mesh.name());
        expect_near_run(one, record, kTolerance);
        EXPECT_EQ(record.parameter_hash == one.parameter_hash, data * tensor == 1);
      }
    }
  }
}

TEST_F(MeshTest, HasTheSameBitsInProcessesAndInEveryOrder) {
  const Mesh mesh{2, 2, 2};
  const Arguments settings = {"train.steps=6"};
  const Metrics threads = metrics(mesh, "threads", settings);
  ASSERT_TRUE(succeeded(run_mpi(8, job(mesh, settings + Arguments{"output.dir=processes"}))));
  expect_same_run(threads, read_metrics(path("processes")));
  ASSERT_TRUE(succeeded(run_mpi(
      8, job(mesh, settings +
                       Arguments{"output.dir=reordered", "parallel.order=tensor-pipeline-data"}))));
  expect_same_run(threads, read_metrics(path("reordered")));
}

TEST_F(MeshTest, GoesOnOnOtherMeshes) {
  const Metrics whole = metrics({1, 2, 2}, "whole", {"output.checkpoint_every=10"});
  const Arguments from = {"--resume", path("whole/checkpoints/step-00000010")};

  ASSERT_TRUE(succeeded(run_local({1, 2, 1}, {"output.dir=flat"}, from)));
  EXPECT_EQ(read_metrics(path("flat")).parameter_hash, whole.parameter_hash);

  const CommandResult four = run_local({1, 4, 1}, {"output.dir=four"}, from);
  ASSERT_TRUE(succeeded(four));
  EXPECT_NE(four.out.find("parallel.tensor is 4 now and was 2"), std::string::npos) << four.out;
  const Metrics others = read_metrics(path("four"));
  ASSERT_EQ(others.losses.size(), 10U);
  for (const auto& [step, loss] : others.losses) {
    EXPECT_NEAR(loss, whole.losses.at(step), kTolerance * loss) << "step " << step;
  }
}

TEST_F(MeshTest, SaysWhichRankIsWhereAndHowManyItNeeds) {
  const Arguments one_step = {"train.steps=1", "train.evaluate_every=0"};
  const auto order_line = [&](const Arguments& settings) {
    const CommandResult result = run_local({2, 2, 2}, settings + one_step);
    EXPECT_TRUE(succeeded(result));
    EXPECT_NE(result.out.find("tensor      2 ranks share each layer: 2 of 4 heads each"),
              std::string::npos)
        << result.out;
    const std::size_t begin = result.out.find("order       ");
    return result.out.substr(begin, result.out.find('\n', begin) - begin);
  };
  EXPECT_EQ(order_line({"output.dir=usual"}),
            "order       data-pipeline-tensor: rank = (replica x 2 + pipeline rank) x 2 + tensor "
            "rank");
  EXPECT_EQ(order_line({"output.dir=other", "parallel.order=tensor-data-pipeline"}),
            "order       tensor-data-pipeline: rank = (tensor rank x 2 + replica) x 2 + pipeline "
            "rank");
  EXPECT_TRUE(refused(run(job({1, 2, 2}, {}) + Arguments{"--local-ranks", "2"}), 2,
                      {"parallel.pipeline (2) x parallel.tensor (2)", "4 ranks", "has 2"}));
}

TEST_F(MeshTest, IsPlannedWithTheBytesThatItTakes) {
  const Arguments automatic = {"device.threads_per_rank=auto", "train.steps=1",
                               "train.evaluate_every=0"};
  std::vector<std::string> lines;
  for (const std::string gather_again : {"true", "false"}) {
    const Arguments settings =
        automatic + Arguments{"parallel.gather_again=" + gather_again, "schedule.name=v-zb",
                              "output.dir=gathers-again-" + gather_again};
    const CommandResult trained = run_local({1, 2, 2}, settings);
    ASSERT_TRUE(succeeded(trained));
    const CommandResult planned = plan({1, 2, 2}, settings);
    ASSERT_TRUE(succeeded(planned));
    lines.push_back(memory_line(planned.out));
    EXPECT_EQ(lines.back(), memory_line(trained.out));
    EXPECT_GT(lines.back().size(), 60U);
  }
  EXPECT_NE(lines[0], lines[1]);
}

TEST_F(MeshTest, IsBenchmarkedWithAllItsRanks) {
  for (const std::string zero_stage : {"0", "1"}) {
    Arguments bench = job({2, 2, 2}, {"optimizer.zero_stage=" + zero_stage});
    bench.front() = "bench";
    const CommandResult result =
        run(bench + Arguments{"--local-ranks", "8", "--steps", "3", "--schedules", "1f1b,v-half"});
    ASSERT_TRUE(succeeded(result));
    EXPECT_NE(result.out.find("2 replicas of 2 pipeline ranks of 2 tensor ranks"),
              std::string::npos)
        << result.out;
    const std::string exposed = R"(v-half: gradients exposed for \S+ ms)";
    EXPECT_NE(
        matches(result.out, exposed + (zero_stage == "0" ? "" : R"(, parameters for \S+ ms)")), "")
        << result.out;
    EXPECT_EQ(result.out.find("modelled"), std::string::npos);
  }
}

/// The same on emulated GPUs, whose messages go by NCCL or through pinned memory.
class EmulatedMesh : public MeshTest {
 protected:
  EmulatedMesh() {
    // Heads of 64 elements, which the kernels for tensor cores know, and little work.
    write("run.yaml",
          R"(model: {num_layers: 4, num_heads: 2, hidden_size: 128, seq_len: 8}
data: {text: text.txt}
train: {steps: 20, micro_batch_size: 1, global_batch_size: 4, evaluate_every: 10, evaluate_batches: 1}
optimizer: {learning_rate: 1.0e-3, schedule: constant}
schedule: {name: v-half}
)");
  }
  [[nodiscard]] Metrics on_gpus(const Mesh& mesh,
                                const std::string& transport,
                                const std::string& dir,
                                const Arguments& settings) {
    const std::string host_program = program;
    program = emulated_program_;
    EXPECT_TRUE(succeeded(run_mpi(
        mesh.num_ranks(), job(mesh, Arguments{"device.kind=cuda", "parallel.transport=" + transport,
                                              "output.dir=" + dir} +
                                        settings))));
    program = host_program;
    return read_metrics(path(dir));
  }
  /// From now on `algorithm`, as the shell computes it, is the quickest for all products.
  void prefer(const std::string& algorithm) {
    write("by_rank.sh", "#!/bin/sh\nHALFPIPE_EMULATION_QUICK_ALGORITHM=$((" + algorithm +
                            ")) exec " HALFPIPE_TEST_EMULATED_COMMAND " \"$@\"\n");
    emulated_program_ = path("by_rank.sh");
    std::filesystem::permissions(emulated_program_, std::filesystem::perms::owner_all);
  }

  std::string emulated_program_ = HALFPIPE_TEST_EMULATED_COMMAND;
};

TEST_F(EmulatedMesh, HasTheLossesOfOneCpuRank) {
  const Metrics one = metrics({1, 1, 1}, "one", {"schedule.name=1f1b"});
  ASSERT_EQ(one.losses.size(), 20U);
  for (const Mesh& mesh : {Mesh{2, 2, 2}, Mesh{2, 1, 2}, Mesh{1, 2, 2}}) {
    SCOPED_TRACE(mesh.name());
    expect_near_run(one, on_gpus(mesh, "nccl", mesh.name(), {}), kTolerance);
  }
}

// Each rank's columns of the product and of GELU.
TEST_F(EmulatedMesh, HasTheLossesOfOneCpuRankWithGeluInProducts) {
  const Arguments short_run = {"train.steps=4", "train.evaluate_every=0"};
  const Metrics one = metrics({1, 1, 1}, "one", short_run + Arguments{"schedule.name=1f1b"});
  ASSERT_EQ(one.losses.size(), 4U);
  const Arguments fused = short_run + Arguments{"device.fused_gelu=true"};
  expect_near_run(one, on_gpus({1, 2, 2}, "nccl", "fused", fused), kTolerance);
  expect_near_run(
      one, on_gpus({1, 2, 1}, "nccl", "kept", fused + Arguments{"parallel.gather_again=false"}),
      kTolerance);
}

TEST_F(EmulatedMesh, HasTheSameBitsWithBothTransportsAndInOtherOrders) {
  const Arguments short_run = {"train.steps=2", "train.evaluate_every=0", "train.precision=bf16"};
  const Mesh mesh{1, 2, 2};
  const Metrics by_nccl = on_gpus(mesh, "nccl", "by-nccl", short_run);
  expect_same_run(by_nccl, on_gpus(mesh, "host", "by-host", short_run));
  options.environment["HALFPIPE_EMULATION_LAZY_LOADING"] = "1";
  for (const std::string order : {"reverse", "shuffled:3"}) {
    SCOPED_TRACE(order);
    options.environment["HALFPIPE_EMULATION_SCHEDULE"] = order;
    expect_same_run(by_nccl, on_gpus(mesh, "nccl", order, short_run));
  }
}

const Arguments kTuned = {"train.steps=2", "train.evaluate_every=0", "device.tune=true"};

// Ranks measure, each for itself, and find other algorithms the quickest. Those that go on find yet
// another: only what the ranks agreed on leads to the same bits.
TEST_F(EmulatedMesh, TakesTheSameTunedProductsOnAllRanksAndWhenItGoesOn) {
  const Mesh mesh{1, 2, 2};
  const Metrics untuned = on_gpus(mesh, "host", "untuned", kTuned + Arguments{"device.tune=false"});
  prefer("(OMPI_COMM_WORLD_RANK + 1) % 3");
  const Metrics tuned =
      on_gpus(mesh, "host", "tuned", kTuned + Arguments{"output.checkpoint_every=1"});
  ASSERT_EQ(tuned.losses.size(), 2U);
  EXPECT_NE(tuned.parameter_hash, untuned.parameter_hash);

  prefer("2");
  program = emulated_program_;
  const auto goes_on = [&](const Mesh& other, const std::string& dir, const Arguments& settings) {
    const Arguments where = {"device.kind=cuda", "output.dir=" + dir};
    EXPECT_TRUE(succeeded(run_mpi(
        other.num_ranks(), job(other, kTuned + where + settings) +
                               Arguments{"--resume", path("tuned/checkpoints/step-00000001")})));
    return read_metrics(path(dir)).parameter_hash;
  };
  EXPECT_EQ(goes_on({1, 2, 1}, "flat", {}), tuned.parameter_hash);
  EXPECT_EQ(goes_on(mesh, "1f1b", {"schedule.name=1f1b", "parallel.transport=nccl"}),
            tuned.parameter_hash);
}

// Its own copy of the checkpoint names algorithms that the library does not know.
TEST_F(EmulatedMesh, EndsTogetherWhenOneRankCannotTune) {
  namespace fs = std::filesystem;
  const Mesh mesh{1, 2, 1};
  (void)on_gpus(mesh, "host", "run", kTuned);
  fs::create_directories(path("elsewhere"));
  for (const char* name : {"run.yaml", "text.txt", "run"}) {
    fs::copy(path(name), path("elsewhere") / name, fs::copy_options::recursive);
  }
  const std::string choices = "run/checkpoints/step-00000002/tuned_choices.json";
  const std::string written = read(choices);
  write("elsewhere/" + choices,
        std::regex_replace(written, std::regex(R"("algorithm": "[^"]*")"), R"("algorithm": "0")"));
  program = emulated_program_;
  const Arguments on =
      job(mesh, kTuned + Arguments{"device.kind=cuda", "train.steps=3", "output.dir=run"}) +
      Arguments{"--resume", "run/checkpoints/step-00000002"};
  EXPECT_TRUE(refused(start_mpi_by_rank({{on}, {on, "elsewhere"}})->wait(20.0), 1,
                      {"'0' is no algorithm of cuBLASLt", "tuned_choices.json in the checkpoint",
                       "--set device.tune=false"}));
}

}  // namespace
}  // namespace halfpipe::tools
