// SPDX-License-Identifier: Apache-2.0
#include "engine/checkpoint/model_shape.h"

#include "kernels/core/error.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <string_view>
#include <vector>

namespace halfpipe::checkpoint {
namespace {

/// The block that a tensor belongs to, from its canonical name.
std::optional<int> block_of(std::string_view name) {
  constexpr std::string_view kPrefix = "transformer.h.";
  if (!name.starts_with(kPrefix)) return std::nullopt;
  name.remove_prefix(kPrefix.size());
  int block = -1;
  std::from_chars(name.data(), name.data() + name.size(), block);
  return block >= 0 ? std::optional(block) : std::nullopt;
}

void check_num_layers(int num_layers,
                      const ShardedTensors& tensors,
                      const std::string& config_file) {
  int last_block = -1;
  std::string its_tensor;
  for (const std::string& name : tensors.names()) {
    const std::optional<int> block = block_of(name);
    if (!block || *block <= last_block) continue;
    last_block = *block;
    its_tensor = name;
  }
  if (num_layers == static_cast<std::int64_t>(last_block) + 1) return;
  throw FileError(fmt::format(
      "{}: n_layer ({}) must be the number of blocks in the tensors, {}", config_file, num_layers,
      its_tensor.empty() ? "which have none" : fmt::format("the last is in '{}'", its_tensor)));
}

/// Extent `axis` of a tensor, if that is there, is the value of `key`.
struct SizeCheck {
  const char* key;
  int value;
  const char* tensor;
  std::size_t axis;
};

void check_size(const SizeCheck& wanted,
                const ShardedTensors& tensors,
                const std::string& config_file) {
  if (!tensors.contains(wanted.tensor)) return;
  const std::vector<std::int64_t>& shape = tensors.entry(wanted.tensor).shape;
  if (shape.size() == 2 && shape[wanted.axis] == wanted.value) return;
  throw FileError(fmt::format("{}: {} ({}) must be extent {} of tensor '{}', which has shape [{}]",
                              config_file, wanted.key, wanted.value, wanted.axis, wanted.tensor,
                              fmt::join(shape, ", ")));
}

}  // namespace

void check_model_shape(const model::TransformerConfig& config,
                       const ShardedTensors& tensors,
                       const std::string& config_file) {
  check_num_layers(config.num_layers, tensors, config_file);
  constexpr const char* kTokens = "transformer.wte.weight";
  constexpr const char* kPositions = "transformer.wpe.weight";
  constexpr const char* kHead = "lm_head.weight";
  check_size({"vocab_size", config.vocab_size, kTokens, 0}, tensors, config_file);
  check_size({"n_embd", config.hidden_size, kTokens, 1}, tensors, config_file);
  check_size({"n_positions", config.seq_len, kPositions, 0}, tensors, config_file);
  check_size({"n_embd", config.hidden_size, kPositions, 1}, tensors, config_file);
  if (!config.tie_embeddings) {  // a tied model's copy of the table is not read
    check_size({"vocab_size", config.vocab_size, kHead, 0}, tensors, config_file);
    check_size({"n_embd", config.hidden_size, kHead, 1}, tensors, config_file);
  }
  if (config.bias) return;
  if (const std::optional<std::string> name = find_nonzero_bias(tensors)) {
    throw FileError(
        fmt::format("{}: bias (false) must be true: tensor '{}' is not zero", config_file, *name));
  }
}

std::optional<std::string> find_nonzero_bias(const ShardedTensors& tensors) {
  std::vector<float> values;
  for (const std::string& name : tensors.names()) {
    if (!name.ends_with(".bias")) continue;
    values.resize(static_cast<std::size_t>(tensors.entry(name).num_elements()));
    tensors.read_float32(name, values);
    if (std::ranges::any_of(values, [](float value) { return value != 0.0F; })) return name;
  }
  return std::nullopt;
}

}  // namespace halfpipe::checkpoint
