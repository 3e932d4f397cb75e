// SPDX-License-Identifier: Apache-2.0
#include "engine/checkpoint/hugging_face.h"

#include "engine/files/json_file.h"
#include "kernels/core/error.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <array>
#include <cmath>
#include <limits>
#include <optional>

namespace halfpipe::checkpoint {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

/// A config.json being read: every refusal names the file, the key and its value.
class ConfigFile {
 public:
  ConfigFile(std::string_view text, const std::string& file_name)
      : file_name_(file_name), root_(files::parse_json(text, file_name)) {
    if (!root_.is_object()) throw FileError(file_name_ + ": must hold a JSON object");
  }

  [[noreturn]] void refuse(std::string_view key, const std::string& rule) const {
    throw FileError(
        fmt::format("{}: {} ({}) {}", file_name_, key, root_.value(key, json()).dump(), rule));
  }

  /// A positive whole number under the first of these keys that is there.
  [[nodiscard]] int size(std::string_view key, std::string_view older_key = {}) const {
    if (find_or_null(key) == nullptr && !older_key.empty()) key = older_key;
    const json* value = find_or_null(key);
    if (value == nullptr) throw FileError(fmt::format("{}: key '{}' is missing", file_name_, key));
    const bool fits = value->is_number_unsigned() &&
                      value->get<std::uint64_t>() <= std::numeric_limits<int>::max() && *value != 0;
    if (!fits) refuse(key, "must be a positive whole number");
    return value->get<int>();
  }

  [[nodiscard]] bool flag(std::string_view key, bool otherwise) const {
    const json* value = find_or_null(key);
    if (value == nullptr) return otherwise;
    if (!value->is_boolean()) refuse(key, "must be true or false");
    return value->get<bool>();
  }

  /// Null and absent are the same to transformers.
  [[nodiscard]] const json* find_or_null(std::string_view key) const {
    const auto found = root_.find(key);
    return found == root_.end() || found->is_null() ? nullptr : &*found;
  }

 private:
  const std::string& file_name_;
  json root_;
};

void check_kind(const ConfigFile& file) {
  const json* type = file.find_or_null("model_type");
  if (type != nullptr && *type != "gpt2")
    file.refuse("model_type", "must be \"gpt2\": no other family can be run");
  const json* architectures = file.find_or_null("architectures");
  if (architectures == nullptr) {
    if (type == nullptr) file.refuse("model_type", "must be \"gpt2\"");
    return;
  }
  const bool known =
      architectures->is_array() && architectures->size() == 1 &&
      ((*architectures)[0] == "GPT2LMHeadModel" || (*architectures)[0] == "GPT2Model");
  if (!known) file.refuse("architectures", "must be [\"GPT2LMHeadModel\"] or [\"GPT2Model\"]");
}

/// Refuses settings under which transformers computes something else than Halfpipe does.
void check_computation(const ConfigFile& file, const model::TransformerConfig& config) {
  // The widest tensor is n_embd by 4 n_embd, and sizes are int.
  constexpr int kWidest = std::numeric_limits<int>::max() / 4;
  if (config.hidden_size > kWidest)
    file.refuse("n_embd", fmt::format("must be at most {}", kWidest));
  if (config.hidden_size % config.num_heads != 0) {
    file.refuse("n_embd", fmt::format("must be a multiple of n_head ({})", config.num_heads));
  }
  if (const json* inner = file.find_or_null("n_inner");
      inner != nullptr && *inner != config.mlp_size()) {
    file.refuse("n_inner", fmt::format("must be null or 4 n_embd ({})", config.mlp_size()));
  }
  const json* activation = file.find_or_null("activation_function");
  if (activation != nullptr && *activation != "gelu_new" && *activation != "gelu_pytorch_tanh") {
    file.refuse("activation_function", "must be \"gelu_new\" (GELU in its tanh form)");
  }
  // Read as float64, kept as float32 in transformers' own arithmetic: equal to a few ulp is equal.
  constexpr double kTolerance = 1e-6;
  constexpr double kEpsilon = 1e-5;
  const json* epsilon = file.find_or_null("layer_norm_epsilon");
  if (epsilon != nullptr && (!epsilon->is_number() ||
                             !(std::abs(epsilon->get<double>() / kEpsilon - 1.0) < kTolerance))) {
    file.refuse("layer_norm_epsilon", "must be 1e-05");
  }
  if (!file.flag("scale_attn_weights", true)) file.refuse("scale_attn_weights", "must be true");
  for (const char* key :
       {"scale_attn_by_inverse_layer_idx", "reorder_and_upcast_attn", "add_cross_attention"}) {
    if (file.flag(key, false)) file.refuse(key, "must be false");
  }
}

bool is_mask_buffer(std::string_view name) {
  return name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias");
}

}  // namespace

std::string make_hugging_face_config(const model::TransformerConfig& config) {
  ordered_json root;
  root["architectures"] = {"GPT2LMHeadModel"};
  root["model_type"] = "gpt2";
  root["n_layer"] = config.num_layers;
  root["n_head"] = config.num_heads;
  root["n_embd"] = config.hidden_size;
  root["n_positions"] = config.seq_len;
  root["n_ctx"] = config.seq_len;
  root["vocab_size"] = config.vocab_size;
  root["n_inner"] = nullptr;
  root["activation_function"] = "gelu_new";
  root["layer_norm_epsilon"] =
      1e-5;  // model::TransformerConfig::kNormEpsilon in its shortest decimal form
  root["tie_word_embeddings"] = config.tie_embeddings;
  root["bias"] = config.bias;
  root["scale_attn_weights"] = true;
  root["scale_attn_by_inverse_layer_idx"] = false;
  root["reorder_and_upcast_attn"] = false;
  root["initializer_range"] = 0.02;
  // The defaults (50256) would lie beyond a small vocabulary, and Halfpipe trains without such
  // tokens.
  root["bos_token_id"] = nullptr;
  root["eos_token_id"] = nullptr;
  root["resid_pdrop"] = 0.0;
  root["embd_pdrop"] = 0.0;
  root["attn_pdrop"] = 0.0;
  root["torch_dtype"] = "float32";
  root["use_cache"] = true;
  return root.dump(2) + "\n";
}

model::TransformerConfig parse_hugging_face_config(std::string_view text,
                                                   const std::string& file_name) {
  const ConfigFile file(text, file_name);
  check_kind(file);
  model::TransformerConfig config;
  config.num_layers = file.size("n_layer");
  config.num_heads = file.size("n_head");
  config.hidden_size = file.size("n_embd");
  config.seq_len = file.size("n_positions", "n_ctx");
  config.vocab_size = file.size("vocab_size");
  config.tie_embeddings = file.flag("tie_word_embeddings", true);
  config.bias = file.flag("bias", true);
  check_computation(file, config);
  return config;
}

std::string canonical_name(std::string_view name) {
  if (is_mask_buffer(name)) return {};
  if (name.starts_with("transformer.") || name == "lm_head.weight") return std::string(name);
  return fmt::format("transformer.{}", name);
}

std::string shard_file_name(std::string_view stem, int shard_index, int num_shards) {
  HALFPIPE_CHECK(shard_index >= 0 && shard_index < num_shards, "shards are numbered from 0");
  if (num_shards == 1) return fmt::format("{}.safetensors", stem);
  return fmt::format("{}-{:05}-of-{:05}.safetensors", stem, shard_index + 1, num_shards);
}

std::string make_index(const WeightMap& weight_map, std::uint64_t total_bytes) {
  ordered_json root;
  root["metadata"]["total_size"] = total_bytes;
  root["weight_map"] = weight_map;
  return root.dump(2) + "\n";
}

WeightMap parse_index(std::string_view text, const std::string& file_name) {
  const json root = files::parse_json(text, file_name);
  const bool has_map = root.is_object() && root.contains("weight_map") &&
                       root["weight_map"].is_object() && !root["weight_map"].empty();
  if (!has_map) throw FileError(file_name + ": must hold an object 'weight_map' that is not empty");
  WeightMap weight_map;
  for (const auto& [tensor, file] : root["weight_map"].items()) {
    const bool plain = file.is_string() && !file.get<std::string>().empty() &&
                       file.get<std::string>().find('/') == std::string::npos;
    if (!plain) {
      throw FileError(fmt::format("{}: weight_map '{}' ({}) must be the name of a file beside it",
                                  file_name, tensor, file.dump()));
    }
    weight_map.emplace(tensor, file.get<std::string>());
  }
  return weight_map;
}

}  // namespace halfpipe::checkpoint
