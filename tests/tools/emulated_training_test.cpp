// SPDX-License-Identifier: Apache-2.0
// Training on emulated GPUs (tests/cuda_emulation), processes under mpirun: the losses of the CPU
// backend; the same bits under schedules of every shape, on 1, 2 and 4 ranks, and in other orders
// of threads and streams.
#include <filesystem>
#include <string>
#include <vector>

#include "tests/tools/command_fixture.h"

namespace halfpipe::tools {
namespace {

class EmulatedTraining : public CommandTest {
 protected:
  EmulatedTraining() : host_program_(program) {
    program = HALFPIPE_TEST_EMULATED_COMMAND;
    // A head of 64 elements, which the kernels for tensor cores know, and little work.
    write("run.yaml",
          R"(model: {num_layers: 4, num_heads: 1, hidden_size: 64, seq_len: 8}
data: {text: text.txt}
train: {steps: 20, micro_batch_size: 1, global_batch_size: 4, evaluate_every: 0}
optimizer: {learning_rate: 1.0e-3, schedule: constant}
parallel: {pipeline: 1}
schedule: {name: v-half}
)");
  }

  [[nodiscard]] Metrics on_cpu(const std::string& precision) {
    const std::string emulated = program;
    program = host_program_;
    const CommandResult result =
        run(train_local(1, settings_of_all + Arguments{"train.precision=" + precision,
                                                       "schedule.name=1f1b", "output.dir=cpu"}));
    program = emulated;
    EXPECT_TRUE(succeeded(result));
    return read_metrics(path("cpu"));
  }

  [[nodiscard]] Metrics on_gpus(int num_ranks, const Arguments& settings, const std::string& dir) {
    const Arguments where = {"device.kind=cuda", "output.dir=" + dir,
                             "parallel.pipeline=" + std::to_string(num_ranks)};
    EXPECT_TRUE(succeeded(
        run_mpi(num_ranks, train(settings_of_all + settings_of_gpus + settings + where))));
    return read_metrics(path(dir));
  }

  void expect_losses_of_cpu(const std::string& precision, double tolerance) {
    const Metrics expected = on_cpu(precision);
    const Metrics actual = on_gpus(4, {"train.precision=" + precision}, "gpu");
    ASSERT_EQ(expected.losses.size(), 20U);
    expect_near_run(expected, actual, tolerance);
    EXPECT_LT(expected.losses.rbegin()->second, 0.9 * expected.losses.begin()->second);
  }

  struct Case {
    std::string schedule;
    int num_ranks;
  };

  void expect_same_bits(const std::string& precision,
                        const std::vector<Case>& cases,
                        const std::vector<std::string>& orders) {
    const Arguments settings = {"train.precision=" + precision, "train.steps=2"};
    const Metrics one = on_gpus(1, settings + Arguments{"schedule.name=1f1b"}, "one");
    ASSERT_EQ(one.losses.size(), 2U);
    for (const auto& [schedule, num_ranks] : cases) {
      const std::string name = schedule + "-" + std::to_string(num_ranks);
      SCOPED_TRACE(name);
      expect_same_run(
          one,
          on_gpus(num_ranks,
                  settings + settings_of_several + Arguments{"schedule.name=" + schedule}, name));
    }
    for (const std::string& order : orders) {
      SCOPED_TRACE(order);
      options.environment["HALFPIPE_EMULATION_SCHEDULE"] = order;
      expect_same_run(one, on_gpus(2, settings + settings_of_several, order));
    }
  }

  Arguments settings_of_all;
  Arguments settings_of_gpus;     // not of the CPU that they are held against
  Arguments settings_of_several;  // of jobs with several orders or ranks

 private:
  std::string host_program_;
};

// Both round every operation of a step, in other orders; 20 steps of AdamW amplify that.
TEST_F(EmulatedTraining, HasTheLossesOfTheCpuInFloat32) {
  expect_losses_of_cpu("float32", 1e-5);
}
TEST_F(EmulatedTraining, HasTheLossesOfTheCpuInBFloat16) {
  expect_losses_of_cpu("bf16", 1e-3);
}

// Both draw the same random numbers: a moment goes another way where the two differ by a rounding
// and one of 65536 numbers lies between them.
TEST_F(EmulatedTraining, HasTheLossesOfTheCpuWithMomentsInBFloat16) {
  settings_of_all = {"optimizer.moments=bf16"};
  expect_losses_of_cpu("float32", 1e-5);
}

TEST_F(EmulatedTraining, HasTheSameBitsUnderSchedulesAndOrders) {
  expect_same_bits("float32",
                   {{"1f1b", 2}, {"1f1b", 4}, {"interleaved", 2}, {"v-half", 4}, {"v-zb", 4}},
                   {"reverse", "shuffled:0", "shuffled:3", "shuffled:6"});
}
// Messages that the devices exchange by themselves, while the hosts run ahead.
TEST_F(EmulatedTraining, HasTheSameBitsWithNccl) {
  settings_of_several = {"parallel.transport=nccl"};
  // No code may be loaded while a message is under way.
  options.environment["HALFPIPE_EMULATION_LAZY_LOADING"] = "1";
  const CommandResult one_step =
      run_mpi(2, train({"device.kind=cuda", "parallel.pipeline=2", "parallel.transport=nccl",
                        "train.steps=1", "output.dir=printed"}));
  EXPECT_TRUE(succeeded(one_step));
  EXPECT_NE(one_step.out.find("device      cuda, messages by NCCL"), std::string::npos);
  expect_same_bits("float32", {{"1f1b", 4}, {"interleaved", 4}, {"v-half", 4}, {"v-zb", 2}},
                   {"reverse", "shuffled:0", "shuffled:3", "shuffled:6"});
}
// Warm-ups of steps whose norm is not known yet, some of them for nothing.
TEST_F(EmulatedTraining, HasTheSameBitsBeforeTheNormIsKnown) {
  const Arguments several = {"device.kind=cuda", "parallel.pipeline=4", "schedule.name=v-zb",
                             "train.steps=8", "optimizer.clip_grad_norm=2.6"};  // of some steps
  for (const std::string precision : {"float32", "bf16"}) {
    for (const std::string transport : {"host", "nccl"}) {
      SCOPED_TRACE(precision + " " + transport);
      const Arguments settings =
          several + Arguments{"train.precision=" + precision, "parallel.transport=" + transport};
      const std::string name = precision + "-" + transport;
      const auto metrics_with = [&](const std::string& post_validation) {
        const std::string dir = name + "-" + post_validation;
        const CommandResult result =
            run_mpi(4, train(settings + Arguments{"optimizer.post_validation=" + post_validation,
                                                  "output.dir=" + dir}));
        EXPECT_TRUE(succeeded(result));
        if (post_validation == "on") {
          const int begun = std::stoi(matches(result.out, R"(post-validation (\d+) of)"));
          const int put_back = std::stoi(matches(result.out, R"((\d+) put back)"));
          EXPECT_GE(put_back, 1);
          EXPECT_GT(begun, put_back);
        }
        return read_metrics(path(dir));
      };
      expect_same_run(metrics_with("off"), metrics_with("on"));
    }
  }
}

TEST_F(EmulatedTraining, HasTheSameBitsWhenEachOperationIsWaitedFor) {
  const Arguments two_steps = {"device.kind=cuda", "parallel.pipeline=1", "train.steps=2"};
  const CommandResult usual = run_mpi(1, train(two_steps + Arguments{"output.dir=usual"}));
  const CommandResult waiting =
      run_mpi(1, train(two_steps + Arguments{"debug.sync_kernels=true", "output.dir=waiting"}));
  EXPECT_EQ(usual.out.find("each operation waited for"), std::string::npos);
  EXPECT_NE(waiting.out.find("each operation waited for"), std::string::npos);
  expect_same_run(read_metrics(path("usual")), read_metrics(path("waiting")));
}
TEST_F(EmulatedTraining, HasTheSameBitsWithGraphs) {
  settings_of_several = {"device.cuda_graphs=true"};
  const CommandResult result =
      run_mpi(2, train({"device.kind=cuda", "parallel.pipeline=2", "device.cuda_graphs=true",
                        "schedule.name=1f1b", "train.steps=1", "output.dir=printed"}));
  EXPECT_TRUE(succeeded(result));
  EXPECT_NE(result.out.find("each pass a CUDA graph"), std::string::npos);
  // The first rank reads tokens: a graph for each of 4 micro-batches and its three passes.
  EXPECT_NE(result.out.find("12 CUDA graphs for the 12 passes of rank 0"), std::string::npos);
  expect_same_bits("float32", {{"1f1b", 2}, {"v-half", 4}, {"v-zb", 2}}, {"reverse", "shuffled:6"});
}
TEST_F(EmulatedTraining, HasTheSameBitsWhenAllIsComputedAgain) {
  settings_of_several = {"train.recompute=full"};
  expect_same_bits("bf16", {{"1f1b", 2}}, {"reverse"});
}
TEST_F(EmulatedTraining, HasTheSameBitsWhenSomeIsComputedAgain) {
  settings_of_several = {"train.recompute=selective"};
  expect_same_bits("float32", {{"v-zb", 2}}, {"shuffled:3"});
}
TEST_F(EmulatedTraining, HasTheSameBitsWithGraphsAndRecomputeWhileNcclSends) {
  settings_of_several = {"device.cuda_graphs=true",         "parallel.transport=nccl",
                         "schedule.replan_after=1",         "schedule.memory_limit=100%",
                         "schedule.search_evaluations=200", "train.recompute=selective"};
  options.environment["HALFPIPE_EMULATION_LAZY_LOADING"] = "1";
  expect_same_bits("bf16", {{"auto", 2}, {"auto", 4}}, {});
}
// Gradients go through pinned memory, and the device adds them.
TEST_F(EmulatedTraining, HasTheSameBitsWithReplicasOnAnyPipeline) {
  const auto replicas = [&](int pipeline, const std::string& schedule, int zero_stage) {
    const std::string dir = schedule + std::to_string(pipeline) + std::to_string(zero_stage);
    EXPECT_TRUE(succeeded(run_mpi(
        2 * pipeline,
        // A table that replicas share.
        train({"device.kind=cuda", "parallel.data=2", "train.steps=2", "model.vocab_size=1024",
               "output.dir=" + dir, "parallel.pipeline=" + std::to_string(pipeline),
               "schedule.name=" + schedule, "train.precision=bf16",
               "optimizer.zero_stage=" + std::to_string(zero_stage)}))));
    return read_metrics(path(dir));
  };
  const Metrics flat = replicas(1, "1f1b", 0);
  ASSERT_EQ(flat.losses.size(), 2U);
  options.environment["HALFPIPE_EMULATION_SCHEDULE"] = "reverse";
  expect_same_run(flat, replicas(2, "v-half", 0));
  expect_same_run(flat, replicas(2, "v-half", 1));
  options.environment["HALFPIPE_EMULATION_SCHEDULE"] = "shuffled:5";
  expect_same_run(flat, replicas(1, "1f1b", 1));
}
// Ranks measure, and each finds another algorithm the quickest; one that goes on finds yet another:
// only what the ranks agreed on, kept in the checkpoint, leads to the same bits.
TEST_F(EmulatedTraining, TakesTheSameTunedProductsOnAllRanksAndWhenItGoesOn) {
  const Arguments tuned = {"device.tune=true", "train.steps=2", "schedule.name=1f1b"};
  const Metrics untuned = on_gpus(1, {"train.steps=2"}, "untuned");
  const std::string emulated = program;
  program = path("by_rank.sh");
  const auto prefer = [&](const std::string& algorithm) {
    write("by_rank.sh", "#!/bin/sh\nHALFPIPE_EMULATION_QUICK_ALGORITHM=$((" + algorithm +
                            ")) exec " + emulated + " \"$@\"\n");
    std::filesystem::permissions(program, std::filesystem::perms::owner_all);
  };
  prefer("OMPI_COMM_WORLD_RANK");
  const Metrics two = on_gpus(2, tuned + Arguments{"output.checkpoint_every=1"}, "two");
  EXPECT_NE(two.parameter_hash, untuned.parameter_hash);
  prefer("2");
  const CommandResult one = run_mpi(
      1, train(tuned + Arguments{"device.kind=cuda", "output.dir=one", "parallel.pipeline=1"}) +
             Arguments{"--resume", path("two/checkpoints/step-00000001")});
  EXPECT_TRUE(succeeded(one));
  EXPECT_NE(one.out.find("kinds of matrix products"), std::string::npos);
  EXPECT_EQ(read_metrics(path("one")).parameter_hash, two.parameter_hash);
}
// GELU of the sums before they are rounded. In float32 they are not, and little differs.
TEST_F(EmulatedTraining, HasTheLossesOfTheCpuInFloat32WithGeluInProducts) {
  settings_of_gpus = {"device.fused_gelu=true"};
  expect_losses_of_cpu("float32", 1e-5);
}
TEST_F(EmulatedTraining, HasTheLossesOfTheCpuInBFloat16WithGeluInProducts) {
  settings_of_gpus = {"device.fused_gelu=true"};
  expect_losses_of_cpu("bf16", 1e-3);
}
TEST_F(EmulatedTraining, HasTheSameBitsUnderSchedulesAndOrdersWithGeluInProducts) {
  settings_of_gpus = {"device.fused_gelu=true"};
  settings_of_several = {"device.cuda_graphs=true"};
  expect_same_bits("bf16", {{"1f1b", 4}, {"v-zb", 2}, {"v-half", 4}}, {"reverse", "shuffled:6"});
}
// Of all jobs but the first, which adds them up in a pass of its own.
TEST_F(EmulatedTraining, HasTheSameBitsWithABiasGradientInGelus) {
  settings_of_several = {"device.fused_bias_gradient=true"};
  expect_same_bits("bf16", {{"1f1b", 2}, {"v-zb", 2}, {"v-half", 4}}, {"reverse"});
  const CommandResult again = run_mpi(
      1, train({"device.kind=cuda", "parallel.pipeline=1", "train.steps=1",
                "device.fused_bias_gradient=true", "train.recompute=full", "output.dir=again"}));
  EXPECT_TRUE(succeeded(again));
  EXPECT_NE(again.out.find("a bias's gradient within GELU's"), std::string::npos) << again.out;
  const Metrics apart = on_gpus(1, {"train.steps=1"}, "apart");
  EXPECT_EQ(read_metrics(path("again")).parameter_hash, apart.parameter_hash);
}
TEST_F(EmulatedTraining, SaysThatGeluIsInProductsAndThatThisChangesBits) {
  const Arguments gpu = {"device.kind=cuda", "parallel.pipeline=1", "train.precision=bf16"};
  const CommandResult apart =
      run_mpi(1, train(gpu + Arguments{"train.steps=1", "output.dir=apart"}));
  EXPECT_TRUE(succeeded(apart));
  EXPECT_EQ(apart.out.find("GELU within products"), std::string::npos);
  const CommandResult fused = run_mpi(
      1, train(gpu + Arguments{"train.steps=2", "output.dir=fused", "device.fused_gelu=true"}) +
             Arguments{"--resume", path("apart/checkpoints/step-00000001")});
  EXPECT_TRUE(succeeded(fused));
  EXPECT_NE(fused.out.find("flash attention, GELU within products\n"), std::string::npos);
  EXPECT_NE(fused.out.find("device.fused_gelu is true now and was false in the checkpoint"),
            std::string::npos)
      << fused.out;
  const CommandResult still_apart =
      run_mpi(1, train(gpu + Arguments{"train.steps=2", "output.dir=still_apart"}));
  EXPECT_TRUE(succeeded(still_apart));
  EXPECT_NE(read_metrics(path("fused")).parameter_hash,
            read_metrics(path("still_apart")).parameter_hash);
}
TEST_F(EmulatedTraining, MeasuresWhatIsFused) {
  const Arguments ops = {"bench",
                         "ops",
                         "run.yaml",
                         "--seconds",
                         "0",
                         "--set",
                         "device.kind=cuda",
                         "--set",
                         "model.vocab_size=256"};
  const CommandResult apart = run(ops);
  EXPECT_TRUE(succeeded(apart));
  EXPECT_NE(apart.out.find("\nc_fc forward "), std::string::npos) << apart.out;
  EXPECT_NE(apart.out.find("\ngelu forward "), std::string::npos);
  const CommandResult fused = run(ops + Arguments{"--set", "device.fused_gelu=true", "--set",
                                                  "device.fused_bias_gradient=true"});
  EXPECT_TRUE(succeeded(fused));
  EXPECT_NE(fused.out.find("\nc_fc gelu forward "), std::string::npos) << fused.out;
  EXPECT_EQ(fused.out.find("\nc_fc forward "), std::string::npos);
  EXPECT_EQ(fused.out.find("\ngelu forward "), std::string::npos);
  EXPECT_NE(fused.out.find("\ngelu backward_input, bias "), std::string::npos);
  EXPECT_EQ(fused.out.find("\nc_fc column_sum "), std::string::npos);
  EXPECT_NE(fused.out.find("\nmlp.c_proj column_sum "), std::string::npos);
}
TEST_F(EmulatedTraining, HasTheSameBitsWithMomentsInBFloat16) {
  settings_of_all = {"optimizer.moments=bf16"};
  expect_same_bits("bf16", {{"1f1b", 4}, {"v-half", 2}}, {"reverse"});
}
TEST_F(EmulatedTraining, HasTheSameBitsUnderSchedulesAndOrdersByCudnn) {
  settings_of_all = {"device.attention=cudnn"};
  settings_of_several = {"device.cuda_graphs=true"};
  expect_same_bits("bf16", {{"1f1b", 4}, {"v-zb", 2}, {"v-half", 4}}, {"reverse", "shuffled:6"});
}
TEST_F(EmulatedTraining, SaysWhoseAttentionAutoTakes) {
  const Arguments gpu = {"device.kind=cuda", "parallel.pipeline=1", "train.steps=1"};
  const Arguments automatic = gpu + Arguments{"device.attention=auto"};
  const auto printed = [&](const Arguments& settings, const std::string& dir) {
    const CommandResult result =
        run_mpi(1, train(settings + Arguments{"output.dir=" + dir, "train.precision=bf16"}));
    EXPECT_TRUE(succeeded(result));
    return result.out;
  };
  EXPECT_NE(printed(gpu, "flash").find("pinned memory, flash attention\n"), std::string::npos);
  const std::string with = printed(automatic, "with");
  EXPECT_NE(with.find("pinned memory, attention by cuDNN 9.19.0\n"), std::string::npos) << with;
  EXPECT_NE(with.find("attention: cudnn"), std::string::npos) << with;
  options.environment["HALFPIPE_EMULATION_NO_CUDNN"] = "1";
  const std::string without = printed(automatic, "without");
  EXPECT_NE(without.find("flash attention (libcudnn.so.9: absent from the emulation)\n"),
            std::string::npos)
      << without;
  expect_same_run(read_metrics(path("flash")), read_metrics(path("without")));
  EXPECT_NE(read_metrics(path("flash")).losses, read_metrics(path("with")).losses);
}
TEST_F(EmulatedTraining, RefusesCudnnWhereItDoesNotServe) {
  const Arguments by_cudnn = {"device.kind=cuda", "parallel.pipeline=1", "device.attention=cudnn"};
  const CommandResult in_float32 = run_mpi(1, train(by_cudnn));
  EXPECT_EQ(in_float32.exit_code, 2);
  EXPECT_NE(in_float32.err.find("device.attention (cudnn): cuDNN's fused attention is for bf16"),
            std::string::npos)
      << in_float32.err;
  options.environment["HALFPIPE_EMULATION_NO_CUDNN"] = "1";
  const CommandResult absent = run_mpi(1, train(by_cudnn + Arguments{"train.precision=bf16"}));
  EXPECT_EQ(absent.exit_code, 2);
  EXPECT_NE(absent.err.find("device.attention (cudnn): libcudnn.so.9: absent"), std::string::npos)
      << absent.err;
}
TEST_F(EmulatedTraining, HasTheSameBitsUnderSchedulesAndOrdersInBFloat16) {
  expect_same_bits("bf16", {{"1f1b", 4}, {"v-zb", 2}, {"v-half", 4}}, {"reverse", "shuffled:6"});
}

}  // namespace
}  // namespace halfpipe::tools
