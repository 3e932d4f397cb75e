// SPDX-License-Identifier: Apache-2.0
// What a checkpoint is good for: inspect, evaluate, generate, init_from; and tokenize, whose shards
// train like the text.
#include <nlohmann/json.hpp>

#include "tests/tools/command_fixture.h"

namespace halfpipe::tools {
namespace {

class CheckpointUse : public CommandTest {
 protected:
  void train_model(const Arguments& settings) {
    ASSERT_TRUE(succeeded(run(train_local(2, settings))));
  }
};

TEST_F(CheckpointUse, InspectTellsHashAndTensors) {
  train_model({});
  const std::string hash = read_metrics(path("out")).parameter_hash;
  for (const std::string where :
       {"out", "out/checkpoints/latest", "out/checkpoints/step-00000020"}) {
    const CommandResult result = run({"inspect", where});
    EXPECT_TRUE(succeeded(result));
    EXPECT_NE(result.out.find("hash " + hash), std::string::npos) << result.out;
    EXPECT_NE(result.out.find("every file is whole"), std::string::npos);
    EXPECT_NE(result.out.find("transformer.h.3.mlp.c_fc.weight"), std::string::npos);
  }
}

TEST_F(CheckpointUse, EvaluateAgreesWithTheValidationLossOfTheRun) {
  // 20 windows of 16 and the token that the last one predicts.
  write("held.txt", read("text.txt").substr(3000, 16 * 20 + 1));
  ASSERT_TRUE(
      succeeded(run({"tokenize", "text.txt", "--out", "all", "--validation-fraction", "0"})));
  ASSERT_TRUE(
      succeeded(run({"tokenize", "held.txt", "--out", "held", "--validation-fraction", "0"})));
  const Arguments data = {"data.text=null", "data.shards.train=all/train_*.bin",
                          "data.shards.validation=held/train_*.bin", "train.evaluate_batches=0"};
  train_model(data);
  // A table of 8.5 MiB is read in more than one piece.
  train_model(data + Arguments{"output.dir=large", "model.vocab_size=70000", "train.steps=2",
                               "train.evaluate_every=1"});
  for (const std::string run_dir : {"out", "large"}) {
    SCOPED_TRACE(run_dir);
    const CommandResult result = run({"evaluate", run_dir, "--text", "held.txt", "--json"});
    ASSERT_TRUE(succeeded(result));
    const nlohmann::json json = nlohmann::json::parse(result.out);
    EXPECT_EQ(json.at("tokens"), 320);
    // The two sum float32 losses in different batches.
    const Metrics metrics = read_metrics(path(run_dir));
    EXPECT_NEAR(json.at("loss").get<double>(), metrics.validation_losses.at(metrics.end_step),
                1e-6);
  }
}

TEST_F(CheckpointUse, EvaluatePredictsEveryTokenButTheFirst) {
  train_model({"train.steps=1"});
  for (const std::size_t size : {2U, 16U, 17U, 18U, 100U}) {
    write("held.txt", read("text.txt").substr(0, size));
    const CommandResult result = run({"evaluate", "out", "--text", "held.txt", "--json"});
    ASSERT_TRUE(succeeded(result));
    EXPECT_EQ(nlohmann::json::parse(result.out).at("tokens"), size - 1);
  }
}

TEST_F(CheckpointUse, GenerateWritesTheSameTextForTheSameSeed) {
  train_model({"data.vocabulary=characters"});
  const Arguments generate = {"generate", "out", "--prompt", "line 1", "--tokens", "60"};
  const CommandResult one = run(generate + Arguments{"--seed", "7"});
  ASSERT_TRUE(succeeded(one));
  EXPECT_TRUE(one.out.starts_with("line 1")) << one.out;
  EXPECT_EQ(one.out.size(), 6U + 60U + 1U);
  EXPECT_EQ(run(generate + Arguments{"--seed", "7", "--threads", "2"}).out, one.out);
  EXPECT_NE(run(generate + Arguments{"--seed", "8"}).out, one.out);
  const Arguments greedy = generate + Arguments{"--temperature", "0", "--seed"};
  EXPECT_EQ(run(greedy + Arguments{"1"}).out, run(greedy + Arguments{"2"}).out);
}

TEST_F(CheckpointUse, ShardsTrainLikeTheirText) {
  train_model({"output.dir=text", "data.vocabulary=characters"});
  const Arguments shards = {"--out",      "tokens",         "--vocabulary",
                            "characters", "--shard-tokens", "4000"};
  ASSERT_TRUE(succeeded(run(Arguments{"tokenize", "text.txt"} + shards)));
  EXPECT_TRUE(std::filesystem::exists(path("tokens/train_000002.bin"))) << "not several shards";
  train_model({"output.dir=shards", "data.text=null", "data.shards.train=tokens/train_*.bin",
               "data.shards.validation=tokens/val_*.bin"});
  expect_same_run(read_metrics(path("text")), read_metrics(path("shards")));
  // The vocabulary came along, so this checkpoint writes text too.
  EXPECT_TRUE(succeeded(run({"generate", "shards", "--prompt", "line", "--tokens", "5"})));
}

TEST_F(CheckpointUse, TrainingStartsFromItsWeights) {
  train_model({"output.dir=first"});
  // A learning rate below the rounding of every weight leaves them as they were.
  for (const std::string from : {"first/checkpoints/latest", "first"}) {
    std::filesystem::remove_all(path("out"));
    train_model({"model.init_from=" + from, "train.steps=1", "optimizer.learning_rate=1e-30",
                 "optimizer.weight_decay=0"});
    EXPECT_EQ(read_metrics(path("out")).parameter_hash, read_metrics(path("first")).parameter_hash);
    EXPECT_LT(read_metrics(path("out")).losses.at(1), read_metrics(path("first")).losses.at(10));
  }
  std::filesystem::create_directory(path("empty"));
  EXPECT_TRUE(refused(run(train_local(2, {"model.init_from=empty", "output.dir=other"})), 2,
                      {"model.init_from (empty)", "config.json"}));
}

TEST_F(CheckpointUse, TrainingDoesNotStartFromWeightsOfAnotherVocabulary) {
  write("ab.txt", "abab" + std::string(300, 'a'));
  write("cd.txt", "cdcd" + std::string(300, 'c'));
  const Arguments settings = {"data.vocabulary=characters", "train.steps=1",
                              "data.validation_fraction=0.2"};
  train_model(settings + Arguments{"data.text=ab.txt", "output.dir=first"});
  const Arguments start = settings + Arguments{"model.init_from=first/checkpoints/latest"};
  EXPECT_TRUE(refused(run(train_local(2, start + Arguments{"data.text=cd.txt"})), 2,
                      {"data.text ([cd.txt])", "model.init_from (first/checkpoints/latest)"}));
  train_model(start + Arguments{"data.text=ab.txt"});
  // A directory without one, as other programs write them, says nothing.
  std::filesystem::remove(path("first/checkpoints/latest/vocabulary.json"));
  std::filesystem::remove(path("first/checkpoints/latest/manifest.json"));
  train_model(start + Arguments{"data.text=cd.txt", "output.dir=third"});
}

TEST_F(CheckpointUse, WeightsThatAreNotFiniteAreRefused) {
  ASSERT_TRUE(succeeded(run(train_local(1, {"output.dir=first", "train.steps=1",
                                            "schedule.name=1f1b", "data.vocabulary=characters"}))));
  const std::string directory = "first/checkpoints/latest/";
  std::filesystem::remove(path(directory + "manifest.json"));
  std::string bytes = read(directory + "model.safetensors");
  bytes.replace(bytes.size() - 4, 4, std::string("\x00\x00\xc0\x7f", 4));
  write(directory + "model.safetensors", bytes);
  for (const Arguments& arguments :
       {Arguments{"generate", "first"}, Arguments{"evaluate", "first", "--text", "text.txt"},
        train_local(1, {"model.init_from=first", "data.vocabulary=characters"})}) {
    EXPECT_TRUE(refused(run(arguments), 2, {"model.safetensors", "tensor '", "finite"}));
  }
}

TEST_F(CheckpointUse, AVocabularyLargerThanTheModelIsRefused) {
  train_model({"train.steps=1", "data.vocabulary=characters"});
  const std::string directory = "out/checkpoints/latest/";
  std::filesystem::remove(path(directory + "manifest.json"));
  write(directory + "vocabulary.json",
        R"({"format": "halfpipe-vocabulary", "kind": "bytes", "size": 256})");
  for (const Arguments& arguments : {Arguments{"generate", "out", "--prompt", "~"},
                                     Arguments{"evaluate", "out", "--text", "text.txt"}}) {
    EXPECT_TRUE(refused(run(arguments), 2, {"vocabulary.json", "256", "vocab_size"}));
  }
}

}  // namespace
}  // namespace halfpipe::tools
