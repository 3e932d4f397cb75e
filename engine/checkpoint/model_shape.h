// SPDX-License-Identifier: Apache-2.0
// Whether a model's config.json and its tensors are about the same model.
#pragma once

#include <optional>
#include <string>

#include "engine/checkpoint/sharded_tensors.h"
#include "engine/model/transformer_config.h"

namespace halfpipe::checkpoint {

/// FileError naming `config_file`, the key and a tensor when the number of blocks, the embedding
/// tables or the head are not of the sizes that `config` gives, or when `config` has no biases and
/// one of the tensors is a bias that is not zero. Costs little, so that it can come before anything
/// is allocated by `config`. Tensors that are missing are left to those who read them.
void check_model_shape(const model::TransformerConfig& config,
                       const ShardedTensors& tensors,
                       const std::string& config_file);

/// The name of a bias that is not zero throughout; absent when there is none.
[[nodiscard]] std::optional<std::string> find_nonzero_bias(const ShardedTensors& tensors);

}  // namespace halfpipe::checkpoint
