// SPDX-License-Identifier: Apache-2.0
// Files that are right: defaults, every form of a value, settings of the command line, the files of
// configs/.
#include "engine/config/load_config.h"

#include "engine/config/hardware_profile.h"
#include "kernels/core/error.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace halfpipe::config {
namespace {

using Overrides = std::vector<std::string>;

RunConfig parse(std::string_view yaml, const Overrides& overrides = {}) {
  return parse_config(yaml, "run.yaml", overrides);
}

constexpr std::string_view kMinimal = "model: {num_layers: 2}\ndata: {text: corpus.txt}\n";

TEST(LoadConfig, AMinimalFileNamesDataAndModel) {
  RunConfig expected;
  expected.model.num_layers = 2;
  expected.data.text = {"corpus.txt"};
  EXPECT_EQ(parse(kMinimal), expected);
}

// The sample of the design, with sizes that its own values allow.
TEST(LoadConfig, ReadsEverySection) {
  const RunConfig config = parse(R"(
model:     {family: gpt2, num_layers: 12, num_heads: 12, hidden_size: 768, seq_len: 1024,
            vocab_size: auto, bias: true, tie_embeddings: true, init_from: null}
data:      {text: [a.txt, "b/*.txt"], vocabulary: bytes, validation_fraction: 0.1}
train:     {steps: 1000, micro_batch_size: 4, global_batch_size: 64, seed: 1, precision: float32,
            evaluate_every: 100, evaluate_batches: 20, recompute: none}
optimizer: {name: adamw, learning_rate: 6.0e-4, min_learning_rate: 6.0e-5, schedule: cosine,
            warmup_steps: 100, beta1: 0.9, beta2: 0.95, epsilon: 1.0e-8, weight_decay: 0.1,
            clip_grad_norm: 1.0, zero_stage: 1, post_validation: auto}
parallel:  {data: 2, tensor: 1, pipeline: 4, layers_per_stage: auto}
schedule:  {name: v-half, memory_limit: null}
device:    {kind: cpu, threads_per_rank: auto}
output:    {dir: runs/quickstart, checkpoint_every: 500, keep: 3, trace: false}
)");
  EXPECT_EQ(config.data.text, (std::vector<std::string>{"a.txt", "b/*.txt"}));
  EXPECT_EQ(config.optimizer.learning_rate, 6.0e-4);
  EXPECT_EQ(config.optimizer.warmup_steps, 100);
  EXPECT_EQ(config.parallel.pipeline, 4);
  EXPECT_EQ(config.model.vocab_size, 0);
  EXPECT_EQ(config.optimizer.zero_stage, 1);
  EXPECT_EQ(config.num_micro_batches(), 8);
  EXPECT_EQ(config.output.dir, "runs/quickstart");
}

TEST(LoadConfig, ReadsShards) {
  const RunConfig config = parse(
      "data:\n  shards:\n    train: fineweb/train_*.bin\n    validation: fineweb/val_*.bin\n");
  EXPECT_TRUE(config.data.text.empty());
  EXPECT_EQ(config.data.train_shards, "fineweb/train_*.bin");
  EXPECT_EQ(config.data.validation_shards, "fineweb/val_*.bin");
}

TEST(LoadConfig, TakesAnEmptySectionAsItsDefaults) {
  EXPECT_EQ(parse(std::string(kMinimal) + "train:\noutput: null\n"), parse(kMinimal));
}

TEST(LoadConfig, ReadsNumbersInTheirUsualForms) {
  EXPECT_EQ(parse(kMinimal, {"optimizer.learning_rate=1e-3"}).optimizer.learning_rate, 1e-3);
  EXPECT_EQ(parse(kMinimal, {"optimizer.learning_rate=+.5"}).optimizer.learning_rate, 0.5);
  EXPECT_EQ(parse(kMinimal, {"optimizer.learning_rate=1"}).optimizer.learning_rate, 1.0);
  EXPECT_EQ(parse(kMinimal, {"train.seed=18446744073709551615"}).train.seed,
            18446744073709551615ULL);
  EXPECT_EQ(parse(kMinimal, {"train.steps=+20"}).train.steps, 20);
}

TEST(LoadConfig, CountsStagesAsTheScheduleDoes) {
  const auto layers = [](const std::string& schedule, const std::string& counts) {
    return parse(kMinimal, {"parallel.pipeline=2", "schedule.name=" + schedule,
                            "parallel.layers_per_stage=" + counts})
        .parallel.layers_per_stage.value();
  };
  EXPECT_EQ(layers("v-min", "[0, 1, 1, 0]"), (std::vector<int>{0, 1, 1, 0}));
  EXPECT_EQ(layers("zb-2p", "[2, 0]"), (std::vector<int>{2, 0}));
  const RunConfig interleaved =
      parse(kMinimal, {"parallel.pipeline=2", "schedule.name=interleaved", "schedule.num_chunks=3",
                       "parallel.layers_per_stage=[1, 0, 0, 0, 0, 1]"});
  EXPECT_EQ(interleaved.schedule.num_chunks, 3);
}

TEST(LoadConfig, AConstantLearningRateHasNoMinimumToObserve) {
  const RunConfig config =
      parse(kMinimal, {"optimizer.schedule=constant", "optimizer.learning_rate=1e-6"});
  EXPECT_EQ(config.optimizer.schedule, optimizer::LearningRateSchedule::kConstant);
}

TEST(Overrides, ReplaceAndAddAndTheLastOneWins) {
  const RunConfig config =
      parse(kMinimal, {"model.num_layers=4", "train.steps=7", "train.steps=8"});
  EXPECT_EQ(config.model.num_layers, 4);
  EXPECT_EQ(config.train.steps, 8);
}

TEST(Overrides, TakeAValueAsItIsWithoutYamlRules) {
  EXPECT_EQ(parse(kMinimal, {"data.text=*.txt"}).data.text, std::vector<std::string>{"*.txt"});
  EXPECT_EQ(parse(kMinimal, {"output.dir=a=b: c #d"}).output.dir, "a=b: c #d");
  EXPECT_EQ(parse(kMinimal, {"output.dir=\"null\""}).output.dir, "null");
}

TEST(Overrides, ReadListsAndMapsAsYaml) {
  EXPECT_EQ(parse(kMinimal, {"data.text=[a.txt, 'b *.txt']"}).data.text,
            (std::vector<std::string>{"a.txt", "b *.txt"}));
  const RunConfig config = parse(kMinimal, {"data={shards: {train: t.bin, validation: v.bin}}"});
  EXPECT_EQ(config.data.train_shards, "t.bin");
  EXPECT_TRUE(config.data.text.empty());
}

TEST(Overrides, NullTakesAKeyOrASectionOut) {
  const std::string file =
      std::string(kMinimal) + "schedule: {name: interleaved, num_chunks: 4}\ntrain: {steps: 5}\n";
  const RunConfig config =
      parse(file, {"schedule.name=1f1b", "schedule.num_chunks=null", "train=null", "device=null"});
  EXPECT_EQ(config.schedule.name, "1f1b");
  EXPECT_EQ(config.train, TrainConfig{});
  EXPECT_EQ(
      parse(kMinimal, {"data.text=null", "data.shards.train=t.bin", "data.shards.validation=v.bin"})
          .data.train_shards,
      "t.bin");
}

TEST(Overrides, CanBeTheWholeConfiguration) {
  EXPECT_EQ(parse("", {"data.text=a.txt"}).data.text, std::vector<std::string>{"a.txt"});
}

TEST(ConfigFiles, AllLoad) {
  const std::filesystem::path folder = std::filesystem::path(HALFPIPE_SOURCE_DIR) / "configs";
  // Paths inside them begin at the top of the repository.
  const std::filesystem::path before = std::filesystem::current_path();
  std::filesystem::current_path(HALFPIPE_SOURCE_DIR);
  int num_files = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    const bool is_job_script = entry.path().parent_path().filename() == "slurm";
    if (entry.is_directory() || is_job_script) continue;
    EXPECT_EQ(entry.path().extension(), ".yaml") << entry.path();
    const bool hardware = entry.path().parent_path().filename() == "hardware";
    EXPECT_NO_THROW(hardware ? static_cast<void>(load_hardware(entry.path()))
                             : static_cast<void>(load_config(entry.path(), {})))
        << entry.path();
    ++num_files;
  }
  EXPECT_GE(num_files, 8);
  std::filesystem::current_path(before);
}

TEST(ConfigFiles, TheQuickstartIsAVHalfPipelineOfFourWithAMillionParameters) {
  const RunConfig config = load_config(HALFPIPE_SOURCE_DIR "/configs/quickstart.yaml", {});
  EXPECT_EQ(config.parallel.pipeline, 4);
  EXPECT_EQ(config.schedule.name, "v-half");
  EXPECT_GE(config.num_micro_batches(), 2 * config.parallel.pipeline);
  const std::int64_t C = config.model.hidden_size;
  EXPECT_GE(12 * C * C * config.model.num_layers, 1'000'000);
}

// The setting of the known result (nanoGPT's small CPU run), so that a change here is deliberate.
TEST(ConfigFiles, ShakespeareKeepsTheSettingOfTheKnownResult) {
  const RunConfig c =
      load_config(HALFPIPE_SOURCE_DIR "/configs/shakespeare-char_pp2_v-half.yaml", {});
  EXPECT_EQ(c.model.num_layers, 4);
  EXPECT_EQ(c.model.num_heads, 4);
  EXPECT_EQ(c.model.hidden_size, 128);
  EXPECT_EQ(c.model.seq_len, 64);
  EXPECT_FALSE(c.model.bias);
  EXPECT_TRUE(c.model.tie_embeddings);
  EXPECT_EQ(c.data.vocabulary, "characters");
  EXPECT_EQ(c.data.validation_fraction, 0.1);
  EXPECT_EQ(c.train.steps, 2000);
  EXPECT_EQ(c.train.global_batch_size, 12);
  EXPECT_EQ(c.train.evaluate_batches, 0);
  EXPECT_EQ(c.train.steps % c.train.evaluate_every, 0);
  EXPECT_EQ(c.optimizer.learning_rate, 1e-3);
  EXPECT_EQ(c.optimizer.min_learning_rate, 1e-4);
  EXPECT_EQ(c.optimizer.schedule, optimizer::LearningRateSchedule::kCosine);
  EXPECT_EQ(c.optimizer.warmup_steps, 100);
  EXPECT_EQ(c.optimizer.beta2, 0.99);
  EXPECT_EQ(c.optimizer.weight_decay, 0.1);
  EXPECT_EQ(c.optimizer.clip_grad_norm, 1.0);
  EXPECT_EQ(c.parallel.pipeline, 2);
  EXPECT_EQ(c.schedule.name, "v-half");
}

TEST(LoadConfig, NamesAFileThatItCannotRead) {
  EXPECT_THROW(static_cast<void>(load_config("no/such/run.yaml", {})), FileError);
  EXPECT_THROW(static_cast<void>(load_config(HALFPIPE_SOURCE_DIR, {})), FileError);
  try {
    static_cast<void>(load_config("no/such/run.yaml", {}));
  } catch (const FileError& error) {
    EXPECT_STREQ(error.what(), "no/such/run.yaml: no such configuration file");
    EXPECT_EQ(error.exit_code(), 2);
  }
}

TEST(LoadConfig, RefusesAFileTooLargeToBeAConfiguration) {
  const std::string path = testing::TempDir() + "/halfpipe_large_config.yaml";
  std::ofstream(path) << std::string((1 << 20) + 1, '#');
  EXPECT_THROW(static_cast<void>(load_config(path, {})), FileError);
  std::filesystem::remove(path);
}

TEST(LoadConfig, ASettingTurnsOffTheKeysOfTheFileThatGoWithIt) {
  const std::string yaml =
      "data: {text: corpus.txt}\n"
      "train: {evaluate_every: 5, evaluate_batches: 4}\n"
      "schedule: {name: interleaved, num_chunks: 3}\n";
  const RunConfig config = parse_config(
      yaml, "run.yaml", std::vector<std::string>{"train.evaluate_every=0", "schedule.name=1f1b"});
  EXPECT_EQ(config.train.evaluate_batches, RunConfig{}.train.evaluate_batches);
  EXPECT_EQ(config.schedule.num_chunks, RunConfig{}.schedule.num_chunks);
}

// For a caller to whom a key matters whatever the schedule is.
TEST(ParseConfig, TakesKeysThatAreMeantAnyway) {
  const std::string text = "data: {text: a}\nschedule: {name: auto, objective: span}\n";
  const std::vector<std::string> settings{"schedule.name=1f1b"};
  const std::vector<std::string> meant{"schedule.objective"};
  EXPECT_EQ(parse_config(text, "run.yaml", settings).schedule.objective, "makespan");
  EXPECT_EQ(parse_config(text, "run.yaml", settings, meant).schedule.objective, "span");
  const std::string named = "data: {text: a}\nschedule: {name: 1f1b, objective: span}\n";
  EXPECT_THROW(static_cast<void>(parse_config(named, "run.yaml", {})), ConfigError);
  EXPECT_EQ(parse_config(named, "run.yaml", {}, meant).schedule.name, "1f1b");
}

}  // namespace
}  // namespace halfpipe::config
