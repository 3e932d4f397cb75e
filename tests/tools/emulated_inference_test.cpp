// SPDX-License-Identifier: Apache-2.0
// evaluate and generate on an emulated GPU: what they say on the CPU.
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>

#include "tests/tools/command_fixture.h"

namespace halfpipe::tools {
namespace {

class EmulatedInference : public CommandTest {
 protected:
  /// A model that has learned enough for its likeliest tokens to be clear.
  void train_model(const Arguments& settings = {}) const {
    ASSERT_TRUE(succeeded(run(
        train_local(1, Arguments{"schedule.name=1f1b", "train.steps=100", "train.evaluate_every=0",
                                 "data.vocabulary=characters", "optimizer.learning_rate=1e-2"} +
                           settings))));
  }
  [[nodiscard]] CommandResult on_gpu(const Arguments& arguments) {
    const std::string host_program = program;
    program = HALFPIPE_TEST_EMULATED_COMMAND;
    CommandResult result = run(arguments + Arguments{"--device", "cuda"});
    program = host_program;
    return result;
  }
};

// Both add in float32, in other orders.
TEST_F(EmulatedInference, EvaluatesToTheLossOfTheCpu) {
  write("held.txt", read("text.txt").substr(0, 16 * 9 + 5));  // the last window is a part of one
  for (const std::string precision : {"float32", "bf16"}) {
    SCOPED_TRACE(precision);
    train_model({"train.precision=" + precision, "output.dir=" + precision});
    const Arguments evaluate = {"evaluate", precision, "--text", "held.txt", "--json"};
    const CommandResult host = run(evaluate);
    const CommandResult gpu = on_gpu(evaluate);
    ASSERT_TRUE(succeeded(host));
    ASSERT_TRUE(succeeded(gpu));
    const auto expected = nlohmann::json::parse(host.out);
    const auto actual = nlohmann::json::parse(gpu.out);
    EXPECT_EQ(expected.at("device"), "cpu");
    EXPECT_EQ(actual.at("device"), "cuda");
    EXPECT_EQ(actual.at("tokens"), 16 * 9 + 4);
    EXPECT_EQ(actual.at("tokens"), expected.at("tokens"));
    const double loss = expected.at("loss");
    EXPECT_LT(loss, 2.0) << "it has learned nothing";
    EXPECT_NEAR(actual.at("loss").get<double>(), loss, 1e-6 * loss);
    EXPECT_NE(actual.at("loss"), expected.at("loss")) << "computed by the CPU";
  }
}

// More tokens than the context has: the cache is filled anew from its newer half.
TEST_F(EmulatedInference, GeneratesTheTextOfTheCpu) {
  train_model();
  const Arguments generate = {"generate", "out", "--prompt", "line 1", "--tokens", "40"};
  for (const Arguments& sampling :
       {Arguments{"--temperature", "0"}, Arguments{"--seed", "3", "--top-k", "5"}}) {
    const CommandResult host = run(generate + sampling);
    ASSERT_TRUE(succeeded(host));
    EXPECT_EQ(host.out.size(), 6U + 40U + 1U);
    for (const std::string order : {"forward", "reverse", "shuffled:3"}) {
      SCOPED_TRACE(order);
      options.environment["HALFPIPE_EMULATION_SCHEDULE"] = order;
      const CommandResult gpu = on_gpu(generate + sampling);
      ASSERT_TRUE(succeeded(gpu));
      EXPECT_EQ(gpu.out, host.out);
    }
  }
}

TEST_F(EmulatedInference, SaysWhatDoesNotFit) {
  train_model({"train.steps=1"});
  const Arguments evaluate = {"evaluate", "out", "--text", "text.txt"};
  EXPECT_TRUE(refused(on_gpu(evaluate + Arguments{"--threads", "2"}), 2,
                      {"--threads (2)", "--device cpu only"}));
  EXPECT_TRUE(refused(on_gpu({"generate", "out", "--threads", "2"}), 2,
                      {"--threads (2)", "--device cpu only"}));
  options.environment["HALFPIPE_EMULATION_DEVICE_BYTES"] = "1000000";
  for (const Arguments& command : {evaluate, Arguments{"generate", "out"}}) {
    EXPECT_TRUE(refused(on_gpu(command), 1, {"cannot allocate", "on GPU 0"}));
  }
}

// The device that the process does not see, or the build does not know.
TEST_F(EmulatedInference, SaysThatThereIsNoGpu) {
  train_model({"train.steps=1"});
  options.environment["CUDA_VISIBLE_DEVICES"] = "";
  for (const Arguments& command :
       {Arguments{"evaluate", "out", "--text", "text.txt"}, Arguments{"generate", "out"}}) {
    const CommandResult result = run(command + Arguments{"--device", "cuda"});
    const bool has_cuda = result.exit_code == 1;
    EXPECT_TRUE(refused(
        result, has_cuda ? 1 : 2,
        {has_cuda ? "this machine has no usable NVIDIA GPU" : "--device (cuda): this build"}));
  }
}

}  // namespace
}  // namespace halfpipe::tools
