// SPDX-License-Identifier: Apache-2.0
// The resolved configuration reads back to itself, whatever it holds.
#include "engine/config/config_to_yaml.h"

#include "engine/config/load_config.h"
#include "engine/config/validate_config.h"
#include "kernels/core/error.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

namespace halfpipe::config {
namespace {

RunConfig smallest() {
  RunConfig config;
  config.data.text = {"corpus.txt"};
  return config;
}

void expect_round_trip(const RunConfig& config) {
  const std::string yaml = to_yaml(config);
  EXPECT_EQ(parse_config(yaml, "resolved.yaml", {}), config) << yaml;
}

TEST(ToYaml, RoundTripsTheDefaults) {
  expect_round_trip(smallest());
}

TEST(ToYaml, WritesEverySectionOnce) {
  const std::string yaml = to_yaml(smallest());
  EXPECT_EQ(yaml.rfind("model:\n  family: gpt2\n", 0), 0U) << yaml;
  EXPECT_NE(yaml.find("data:\n  text: [corpus.txt]\n  shards:\n    train: null\n"
                      "    validation: null\n  vocabulary: bytes\n"),
            std::string::npos)
      << yaml;
  EXPECT_NE(yaml.find("schedule:\n  name: v-half\n  exact: false\n  objective: makespan\n"),
            std::string::npos);
}

TEST(ToSectionLines, HasALineForEverySection) {
  const std::string lines = to_section_lines(smallest());
  EXPECT_EQ(lines.rfind("  model       family: gpt2, num_layers: 12, ", 0), 0U) << lines;
  EXPECT_NE(lines.find("\n  data        text: [corpus.txt], shards.train: null, "),
            std::string::npos);
  EXPECT_NE(lines.find("\n  debug       timeout_seconds: 300\n"), std::string::npos);
  EXPECT_EQ(std::count(lines.begin(), lines.end(), '\n'), 9);
}

TEST(ToYaml, RoundTripsValuesOtherThanTheDefaults) {
  RunConfig config = smallest();
  config.model.vocab_size = 300;
  config.model.bias = false;
  config.model.init_from = "runs/a b/latest";
  config.train.seed = 18446744073709551615ULL;
  config.optimizer.learning_rate = 0.1 + 0.2;  // 17 digits
  config.optimizer.min_learning_rate = 5e-324;
  config.optimizer.schedule = optimizer::LearningRateSchedule::kWarmupStableDecay;
  config.optimizer.decay_fraction = 1.0 / 3.0;
  config.parallel.pipeline = 2;
  config.parallel.layers_per_stage = {{1, 2, 3, 0, 5, 1}};
  config.schedule.name = "interleaved";
  config.schedule.num_chunks = 3;
  config.device.threads_per_rank = 2;
  config.output.trace = true;
  config.debug.timeout_seconds = 0.25;
  expect_round_trip(config);
}

TEST(ToYaml, RoundTripsMemoryLimits) {
  RunConfig config = smallest();
  config.parallel.pipeline = 3;
  config.schedule.name = "auto";
  config.schedule.memory_limit = "1.5 GiB";
  expect_round_trip(config);
  config.schedule.memory_limit.clear();
  config.schedule.rank_memory_limits = {"60%", "2 GiB", "4.5 units"};
  EXPECT_NE(to_yaml(config).find("memory_limit: [\"60%\", \"2 GiB\", \"4.5 units\"]\n"),
            std::string::npos);
  expect_round_trip(config);
}

TEST(ToYaml, RoundTripsShards) {
  RunConfig config;
  config.data.train_shards = "data/train_*.bin";
  config.data.validation_shards = "data/val_*.bin";
  expect_round_trip(config);
}

TEST(ToYaml, LeavesOutKeysWithoutAMeaning) {
  RunConfig config;
  config.data.train_shards = "t.bin";
  config.train.evaluate_every = 0;
  config.optimizer.schedule = optimizer::LearningRateSchedule::kConstant;
  const std::string yaml = to_yaml(config);
  for (const std::string key : {"vocabulary", "validation_fraction", "evaluate_batches",
                                "min_learning_rate", "decay_fraction", "num_chunks"}) {
    EXPECT_EQ(yaml.find(" " + key + ":"), std::string::npos) << yaml;
  }
  expect_round_trip(config);
  config.data.vocabulary = "vocabulary.json";
  expect_round_trip(config);
}

// Checkpoints written before such keys were left out.
TEST(ParseSavedConfig, PassesOverKeysWithoutAMeaning) {
  RunConfig expected = smallest();
  expected.optimizer.schedule = optimizer::LearningRateSchedule::kConstant;
  const std::string old =
      "data: {text: [corpus.txt]}\n"
      "optimizer: {schedule: constant, min_learning_rate: 0.5, decay_fraction: 0.1}\n";
  EXPECT_EQ(parse_saved_config(old, "trainer.json"), expected);
  EXPECT_THROW(static_cast<void>(parse_config(old, "run.yaml", {})), ConfigError);
  EXPECT_EQ(parse_saved_config(to_yaml(expected), "trainer.json"), expected);
  EXPECT_THROW(static_cast<void>(parse_saved_config("train: {steps: 0}", "trainer.json")),
               ConfigError);
}

TEST(ToYaml, QuotesTextThatYamlWouldReadAsSomethingElse) {
  for (const std::string text :
       {"null", "~",   "*.txt", "&a",       "-",         "- a",         "a: b",
        "a #b", "[a]", "{a}",   "\"q\"",    "it's",      "back\\slash", "%a",
        "@a",   "!a",  "|",     ">",        "?",         ",",           "true",
        "5",    "1e3", "auto",  " leading", "trailing ", "\xC3\xA4",    "\xFF\xFE latin",
        "Null", "a,b", "$HOME", "..."}) {
    RunConfig config = smallest();
    config.data.text = {text, "second"};
    config.output.dir = text;
    config.data.vocabulary = text;
    expect_round_trip(config);
  }
}

TEST(Validate, AcceptsWhatParseAccepts) {
  EXPECT_NO_THROW(validate(smallest()));
}

// A RunConfig need not come from a file, so the rules are kept for its values too.
TEST(Validate, RefusesValuesThatNoFileCouldGive) {
  const auto refused = [](auto change) {
    RunConfig config = smallest();
    change(config);
    EXPECT_THROW(validate(config), ConfigError);
  };
  refused([](RunConfig& c) { c.data.text.clear(); });
  refused([](RunConfig& c) { c.model.num_heads = 0; });
  refused([](RunConfig& c) { c.optimizer.beta1 = std::stod("nan"); });
  refused([](RunConfig& c) { c.optimizer.weight_decay = std::stod("inf"); });
  refused([](RunConfig& c) { c.schedule.num_chunks = 3; });
  refused([](RunConfig& c) { c.schedule.name = "v-quarter"; });
  refused([](RunConfig& c) { c.parallel.data = 0; });
  refused([](RunConfig& c) { c.device.threads_per_rank = -1; });
  refused([](RunConfig& c) { c.output.dir.clear(); });
  refused([](RunConfig& c) { c.parallel.layers_per_stage = {{-1, 13}}; });
}

}  // namespace
}  // namespace halfpipe::config
