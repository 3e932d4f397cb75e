// SPDX-License-Identifier: Apache-2.0
// Every key does something: another value than the default changes the RunConfig, and a key with
// one value only accepts that one and refuses others by name.
#include "engine/config/key_table.h"

#include "engine/config/load_config.h"
#include "kernels/core/error.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace halfpipe::config {
namespace {

constexpr std::string_view kBase =
    "data: {text: corpus.txt}\nschedule: {name: interleaved}\ntrain: {evaluate_every: 10}\n"
    "optimizer: {schedule: warmup-stable-decay}\n";

constexpr const char* kHardware = HALFPIPE_SOURCE_DIR "/configs/hardware/a100-80g.yaml";

/// The same where the key has a meaning: a search for a schedule, replicas, or GPUs.
std::string base_for(const std::string& path) {
  std::string base(kBase);
  const std::string interleaved = "interleaved";
  const bool of_search = path == "schedule.memory_limit" || path == "schedule.objective" ||
                         path.starts_with("schedule.search_") || path == "schedule.replan_after";
  const std::string name = of_search ? "auto" : path == "schedule.exact" ? "w4" : interleaved;
  base.replace(base.find(interleaved), interleaved.size(), name);
  if (path == "optimizer.zero_stage") base += "parallel: {data: 2}\n";
  const std::set<std::string_view> of_gpus{
      "parallel.transport",        "debug.sync_kernels", "device.tune",
      "device.cuda_graphs",        "device.attention",   "device.fused_gelu",
      "device.fused_bias_gradient"};
  if (of_gpus.contains(path)) base += "device: {kind: cuda}\n";
  if (path == "parallel.gather_again") base += "parallel: {tensor: 2}\n";
  return base;
}

struct Sample {
  std::string value;
  std::vector<std::string> also;  // what the rules between keys ask for beside it
};

// One value other than the default for every key that has one.
const std::map<std::string, Sample>& samples() {
  static const std::map<std::string, Sample> table{
      {"model.num_layers", {"3", {}}},
      {"model.num_heads", {"6", {}}},
      {"model.hidden_size", {"24", {}}},
      {"model.seq_len", {"7", {}}},
      {"model.vocab_size", {"50257", {}}},
      {"model.bias", {"false", {}}},
      {"model.tie_embeddings", {"false", {}}},
      {"model.init_from", {"gpt2", {}}},
      {"data.text", {"other.txt", {}}},
      {"data.shards.train", {"train.bin", {"data.text=null", "data.shards.validation=val.bin"}}},
      {"data.shards.validation", {"val.bin", {"data.text=null", "data.shards.train=train.bin"}}},
      {"data.vocabulary", {"characters", {}}},
      {"data.validation_fraction", {"0.2", {}}},
      {"train.steps", {"5", {}}},
      {"train.micro_batch_size", {"8", {}}},
      {"train.global_batch_size", {"64", {}}},
      {"train.precision", {"bf16", {}}},
      {"train.seed", {"0", {}}},
      {"train.recompute", {"selective", {}}},
      {"train.evaluate_every", {"20", {}}},
      {"train.evaluate_batches", {"0", {}}},
      {"optimizer.learning_rate", {"1e-3", {}}},
      {"optimizer.min_learning_rate", {"0", {}}},
      {"optimizer.schedule", {"linear", {}}},
      {"optimizer.warmup_steps", {"1000", {}}},
      {"optimizer.decay_fraction", {"1", {}}},
      {"optimizer.beta1", {"0", {}}},
      {"optimizer.beta2", {"0.99", {}}},
      {"optimizer.epsilon", {"1e-6", {}}},
      {"optimizer.weight_decay", {"0", {}}},
      {"optimizer.clip_grad_norm", {"0", {}}},
      {"optimizer.not_finite", {"skip", {}}},
      {"optimizer.moments", {"bf16", {}}},
      {"optimizer.zero_stage", {"1", {}}},
      {"optimizer.post_validation", {"on", {}}},
      {"parallel.data", {"2", {}}},
      {"parallel.tensor", {"2", {}}},
      {"parallel.pipeline", {"4", {}}},
      {"parallel.order", {"pipeline-data-tensor", {}}},
      {"parallel.gather_again", {"false", {}}},
      {"parallel.layers_per_stage", {"[5, 7]", {}}},
      {"parallel.transport", {"nccl", {}}},
      {"schedule.name", {"v-min", {}}},
      {"schedule.num_chunks", {"3", {}}},
      {"schedule.exact", {"true", {}}},
      {"schedule.memory_limit", {"60%", {}}},
      {"schedule.objective", {"span", {}}},
      {"schedule.search_seconds", {"0.5", {}}},
      {"schedule.search_evaluations", {"1000", {}}},
      {"schedule.replan_after", {"10", {}}},
      {"device.kind", {"modelled", {std::string("device.hardware=") + kHardware}}},
      {"device.threads_per_rank", {"2", {}}},
      {"device.pin_threads", {"true", {}}},
      {"device.cuda_graphs", {"true", {}}},
      {"device.tune", {"true", {}}},
      {"device.attention", {"cudnn", {}}},
      {"device.fused_gelu", {"true", {}}},
      {"device.fused_bias_gradient", {"true", {}}},
      {"device.hardware", {kHardware, {"device.kind=modelled"}}},
      {"output.dir", {"elsewhere", {}}},
      {"output.checkpoint_every", {"10", {}}},
      {"output.asynchronous_checkpoints", {"true", {}}},
      {"output.keep", {"0", {}}},
      {"output.trace", {"true", {}}},
      {"debug.timeout_seconds", {"5", {}}},
      {"debug.sync_kernels", {"true", {}}},
  };
  return table;
}

// Keys with one value so far: another one, and the capability that the refusal must name.
const std::map<std::string, std::pair<std::string, std::string>>& refused() {
  static const std::map<std::string, std::pair<std::string, std::string>> table{
      {"model.family", {"llama", "must be gpt2"}},
      {"optimizer.name", {"muon", "another optimizer does not exist"}},
  };
  return table;
}

class EveryKey : public testing::TestWithParam<KeyDoc> {};

TEST_P(EveryKey, TakesItsOwnDefault) {
  const KeyDoc& doc = GetParam();
  const std::string text = base_for(doc.path);
  const RunConfig base = parse_config(text, "base.yaml", {});
  // The base itself sets these to something else.
  if (doc.path == "data.text" || doc.path == "schedule.name" ||
      doc.path == "train.evaluate_every" || doc.path == "optimizer.schedule") {
    EXPECT_NE(find_key_or_null(doc.path)->write(base), doc.default_value);
    return;
  }
  const std::vector<std::string> setting{doc.path + "=" + doc.default_value};
  EXPECT_EQ(parse_config(text, "base.yaml", setting), base);
}

TEST_P(EveryKey, ChangesTheRunConfigOrRefusesByName) {
  const std::string& path = GetParam().path;
  const std::string text = base_for(path);
  if (const auto sample = samples().find(path); sample != samples().end()) {
    std::vector<std::string> settings = sample->second.also;
    settings.push_back(path + "=" + sample->second.value);
    const RunConfig before = parse_config(text, "base.yaml", {});
    const RunConfig after = parse_config(text, "base.yaml", settings);
    EXPECT_NE(after, before);
    EXPECT_NE(find_key_or_null(path)->write(after), find_key_or_null(path)->write(before));
    return;
  }
  ASSERT_TRUE(refused().contains(path)) << path << " is in neither table of this test";
  const auto& [value, words] = refused().at(path);
  const std::vector<std::string> setting{path + "=" + value};
  try {
    static_cast<void>(parse_config(kBase, "base.yaml", setting));
    FAIL() << setting[0] << " was accepted";
  } catch (const ConfigError& error) {
    const std::string message = error.what();
    EXPECT_NE(message.find(path + " (" + value + ")"), std::string::npos) << message;
    EXPECT_NE(message.find(words), std::string::npos) << message;
  }
}

std::string name_of(const testing::TestParamInfo<KeyDoc>& key) {
  std::string name = key.param.path;
  std::replace(name.begin(), name.end(), '.', '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(KeyTable, EveryKey, testing::ValuesIn(key_docs()), name_of);

TEST(KeyTable, HasEachPathOnceAndADocumentForIt) {
  std::set<std::string> paths;
  for (const KeyDoc& doc : key_docs()) {
    EXPECT_TRUE(paths.insert(doc.path).second) << doc.path;
    EXPECT_FALSE(doc.type.empty() || doc.text.empty() || doc.default_value.empty()) << doc.path;
    EXPECT_FALSE(is_section(doc.path)) << doc.path;
  }
  EXPECT_TRUE(is_section("data.shards"));
  EXPECT_FALSE(is_section("data.shard"));
}

}  // namespace
}  // namespace halfpipe::config
