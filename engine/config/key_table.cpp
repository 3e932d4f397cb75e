// SPDX-License-Identifier: Apache-2.0
#include "engine/config/key_table.h"

#include "engine/config/key_lists.h"
#include "engine/data/data_config.h"
#include "engine/model/transformer_config.h"

#include <algorithm>
#include <utility>

namespace halfpipe::config {
namespace {

void add_model_keys(std::vector<Key>& keys) {
  using model::TransformerConfig;
  const auto of = [](auto member) { return field(&RunConfig::model, member); };
  keys.push_back(choice("model.family", of(&TransformerConfig::family), {"gpt2"}, {},
                        "architecture of the transformer"));
  keys.push_back(whole_number<int>("model.num_layers", of(&TransformerConfig::num_layers),
                                   {1, kLargestSize}, "transformer blocks"));
  keys.push_back(whole_number<int>("model.num_heads", of(&TransformerConfig::num_heads),
                                   {1, kLargestSize}, "attention heads; divides hidden_size"));
  keys.push_back(whole_number<int>("model.hidden_size", of(&TransformerConfig::hidden_size),
                                   {1, kLargestSize}, "width of the residual stream"));
  keys.push_back(whole_number<int>("model.seq_len", of(&TransformerConfig::seq_len),
                                   {1, kLargestSize},
                                   "tokens per training sequence; the longest context"));
  keys.push_back(whole_number_or_auto("model.vocab_size", of(&TransformerConfig::vocab_size),
                                      data::kMaxVocabSize,
                                      "rows of the token embedding; auto: the data's vocabulary"));
  keys.push_back(
      flag("model.bias", of(&TransformerConfig::bias), "biases in linear layers and LayerNorms"));
  keys.push_back(flag("model.tie_embeddings", of(&TransformerConfig::tie_embeddings),
                      "the head uses the token embedding's weights"));
  keys.push_back(
      text_or_null("model.init_from", of(&TransformerConfig::init_from),
                   "a GPT-2 directory of Hugging Face or of a run to start from; null: random"));
}

void add_data_keys(std::vector<Key>& keys) {
  using data::DataConfig;
  const auto of = [](auto member) { return field(&RunConfig::data, member); };
  keys.push_back(text_list("data.text", of(&DataConfig::text),
                           "files, folders or globs of plain text; this or data.shards"));
  keys.push_back(text_or_null("data.shards.train", of(&DataConfig::train_shards),
                              "glob of token shards (llm.c or nanoGPT files) to train on"));
  keys.push_back(text_or_null("data.shards.validation", of(&DataConfig::validation_shards),
                              "glob of token shards to evaluate on"));
  const auto from_text = [](const RunConfig& c) {
    return c.data.train_shards.empty() && c.data.validation_shards.empty();
  };
  // Shards have their vocabulary beside them, or in a file that the key names.
  keys.push_back(only_with(text("data.vocabulary", of(&DataConfig::vocabulary),
                                "bytes, characters, or the path of a vocabulary file"),
                           {"data.text"}, "data.text", [=](const RunConfig& c) {
                             return from_text(c) || c.data.vocabulary != DataConfig{}.vocabulary;
                           }));
  keys.push_back(
      only_with(real_number("data.validation_fraction", of(&DataConfig::validation_fraction),
                            {0.0, true, 1.0, false},
                            "part of the text, taken from its end, kept for evaluation"),
                {"data.text"}, "data.text", from_text));
}

void add_surrounding_keys(std::vector<Key>& keys) {
  keys.push_back(choice("device.kind", field(&RunConfig::device, &DeviceConfig::kind),
                        {"cpu", "cuda", "modelled"}, {},
                        "what computes; modelled: nothing does, passes and messages take the time "
                        "that device.hardware says (for plan and bench)"));
  keys.push_back(only_with(
      whole_number_or_auto(
          "device.threads_per_rank", field(&RunConfig::device, &DeviceConfig::threads_per_rank),
          kMostThreads,
          "CPU threads of a rank; auto: CPUs that it may use / ranks that may use the same"),
      {"device.kind"}, "device.kind cpu",
      [](const RunConfig& c) { return c.device.kind == "cpu"; }));
  keys.push_back(
      only_with(flag("device.pin_threads", field(&RunConfig::device, &DeviceConfig::pin_threads),
                     "keep each thread on a CPU of its own, which no other rank's threads use"),
                {"device.kind"}, "device.kind cpu",
                [](const RunConfig& c) { return c.device.kind == "cpu"; }));
  keys.push_back(only_with(
      flag("device.cuda_graphs", field(&RunConfig::device, &DeviceConfig::cuda_graphs),
           "record each pass once as a CUDA graph and enqueue it in one call: less work for the "
           "host, more memory on the device"),
      {"device.kind"}, "device.kind cuda",
      [](const RunConfig& c) { return c.device.kind == "cuda"; }));
  keys.push_back(only_with(
      flag(
          "device.tune", field(&RunConfig::device, &DeviceConfig::tune),
          "measure, before the first step, which of cuBLASLt's algorithms is the quickest for each "
          "kind of matrix product; false: the first one that it proposes"),
      {"device.kind"}, "device.kind cuda",
      [](const RunConfig& c) { return c.device.kind == "cuda"; }));
  keys.push_back(only_with(
      choice("device.attention", field(&RunConfig::device, &DeviceConfig::attention),
             {"flash", "cudnn", "auto"}, {},
             "whose kernels compute attention; flash: Halfpipe's; cudnn: cuDNN's; auto: cuDNN's "
             "where it has them, and the start report says whose"),
      {"device.kind"}, "device.kind cuda",
      [](const RunConfig& c) { return c.device.kind == "cuda"; }));
  // Held by the model, whose layers it changes.
  keys.push_back(only_with(
      flag("device.fused_gelu", field(&RunConfig::model, &model::TransformerConfig::fused_gelu),
           "compute GELU within the matrix product before it (mlp.c_fc), from sums that are not "
           "rounded: one pass over memory less, results differ in their last bits"),
      {"device.kind"}, "device.kind cuda",
      [](const RunConfig& c) { return c.device.kind == "cuda"; }));
  keys.push_back(only_with(
      flag(
          "device.fused_bias_gradient",
          field(&RunConfig::model, &model::TransformerConfig::fused_bias_gradient),
          "add up the gradient of mlp.c_fc's bias while GELU's is computed, in backward_input: one "
          "pass over memory less in backward_weight, the same bits"),
      {"device.kind", "model.bias"}, "device.kind cuda and model.bias true",
      [](const RunConfig& c) { return c.device.kind == "cuda" && c.model.bias; }));
  keys.push_back(only_with(
      text_or_null("device.hardware", field(&RunConfig::device, &DeviceConfig::hardware),
                   "hardware profile of modelled devices, a file as those of configs/hardware"),
      {"device.kind"}, "device.kind modelled",
      [](const RunConfig& c) { return is_modelled(c.device); }));

  const auto in_output = [](auto member) { return field(&RunConfig::output, member); };
  keys.push_back(text("output.dir", in_output(&OutputConfig::dir),
                      "directory for logs, metrics and checkpoints; made when missing"));
  keys.push_back(whole_number<std::int64_t>("output.checkpoint_every",
                                            in_output(&OutputConfig::checkpoint_every), {0},
                                            "steps between checkpoints; 0: only at the end"));
  keys.push_back(flag("output.asynchronous_checkpoints",
                      in_output(&OutputConfig::asynchronous_checkpoints),
                      "write checkpoints from a copy in host memory while the training goes on"));
  keys.push_back(whole_number<int>("output.keep", in_output(&OutputConfig::keep), {0},
                                   "newest checkpoints that stay; 0: all"));
  keys.push_back(flag("output.trace", in_output(&OutputConfig::trace),
                      "write the timeline of one step as Chrome trace JSON"));

  keys.push_back(real_number("debug.timeout_seconds",
                             field(&RunConfig::debug, &DebugConfig::timeout_seconds), {0.0, true},
                             "seconds without progress until a rank gives up; 0: never"));
  keys.push_back(
      only_with(flag("debug.sync_kernels", field(&RunConfig::debug, &DebugConfig::sync_kernels),
                     "wait for each operation of a GPU, and name the one that failed"),
                {"device.kind"}, "device.kind cuda",
                [](const RunConfig& c) { return c.device.kind == "cuda"; }));
}

std::vector<Key> make_table() {
  std::vector<Key> keys;
  add_model_keys(keys);
  add_data_keys(keys);
  add_training_keys(keys);
  add_layout_keys(keys);
  add_surrounding_keys(keys);
  return keys;
}

}  // namespace

const std::vector<Key>& key_table() {
  static const std::vector<Key> table = make_table();
  return table;
}

std::vector<KeyDoc> key_docs() {
  std::vector<KeyDoc> docs;
  for (const Key& key : key_table()) docs.push_back(key.doc);
  return docs;
}

std::vector<std::string> section_names() {
  std::vector<std::string> names;
  for (const Key& key : key_table()) {
    std::string section = key.doc.path.substr(0, key.doc.path.find('.'));
    if (names.empty() || names.back() != section) names.push_back(std::move(section));
  }
  return names;
}

const Key* find_key_or_null(std::string_view path) {
  for (const Key& key : key_table()) {
    if (key.doc.path == path) return &key;
  }
  return nullptr;
}

bool is_section(std::string_view path) {
  return std::any_of(key_table().begin(), key_table().end(), [&](const Key& key) {
    const std::string_view known = key.doc.path;
    return known.size() > path.size() && known.starts_with(path) && known[path.size()] == '.';
  });
}

}  // namespace halfpipe::config