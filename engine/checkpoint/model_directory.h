// SPDX-License-Identifier: Apache-2.0
// The model and the optimizer state in a directory that transformers loads as it is: one shard per
// pipeline stage.
//
// First the shards are written (sliced_file.h); then one rank writes config.json and the index.
// Optimizer state lies beside the model under the same shard numbers, as `exp_avg.<name>` and
// `exp_avg_sq.<name>` (float32 or bfloat16, shape of the parameter).
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/checkpoint/sharded_tensors.h"
#include "engine/model/transformer_config.h"

namespace halfpipe::checkpoint {

/// `model-0000k-of-0000N.safetensors` (`model.safetensors` for one shard). A shard may be empty.
[[nodiscard]] std::filesystem::path model_shard(const std::filesystem::path& directory,
                                                int shard_index,
                                                int num_shards);
/// `optimizer-0000k-of-0000N.safetensors` (`optimizer.safetensors` for one shard).
[[nodiscard]] std::filesystem::path optimizer_shard(const std::filesystem::path& directory,
                                                    int shard_index,
                                                    int num_shards);

/// Writes config.json, and for more than one shard `model.safetensors.index.json` from the headers
/// of the shards, which must all be there.
void write_model_index(const std::filesystem::path& directory,
                       const model::TransformerConfig& config,
                       int num_shards);

/// For a model without biases: the same tensors, each followed by its zero bias, which transformers
/// expects of every linear layer and norm.
[[nodiscard]] std::vector<TensorSpec> with_zero_biases(std::span<const TensorSpec> tensors);

/// `exp_avg.<name>`: Adam's running mean of the gradient.
[[nodiscard]] std::string exp_avg_name(std::string_view parameter);
/// `exp_avg_sq.<name>`: Adam's running mean of the squared gradient.
[[nodiscard]] std::string exp_avg_sq_name(std::string_view parameter);

/// A directory open for reading, whoever wrote it. `tensors` answers to canonical names; a tied
/// model may hold a copy `lm_head.weight`, which nobody reads. FileError when config.json or a
/// tensor file is missing or wrong, or they do not fit one another (check_model_shape).
struct ModelReader {
  explicit ModelReader(const std::filesystem::path& directory);

  model::TransformerConfig config;
  ShardedTensors tensors;
};

/// The optimizer state of a checkpoint; FileError when there is none.
[[nodiscard]] ShardedTensors open_optimizer(const std::filesystem::path& directory);

}  // namespace halfpipe::checkpoint
