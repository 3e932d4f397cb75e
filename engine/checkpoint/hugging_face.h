// SPDX-License-Identifier: Apache-2.0
// What Hugging Face transformers expects of a GPT2LMHeadModel directory: config.json, file names,
// tensor names.
//
// Canonical names are transformers' own: `transformer.wte.weight`,
// `transformer.h.0.attn.c_attn.weight` ([C, 3C]: linear weights are [in, out]),
// `transformer.ln_f.weight`, and `lm_head.weight` [V, C] only when the head is not tied.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "engine/model/transformer_config.h"

namespace halfpipe::checkpoint {

/// config.json for a GPT2LMHeadModel. A key `bias` of ours (ignored by transformers) records that
/// the zero biases in the files are not parameters of the model.
[[nodiscard]] std::string make_hugging_face_config(const model::TransformerConfig& config);

/// Reads config.json, ours or somebody else's. Absent keys take transformers' defaults, except
/// sizes, which must be there. Throws FileError that names `file_name`, the key, its value and the
/// rule for whatever Halfpipe cannot run as the original does.
[[nodiscard]] model::TransformerConfig parse_hugging_face_config(std::string_view text,
                                                                 const std::string& file_name);

/// The canonical name of a tensor in a GPT-2 file: with `transformer.` (GPT2Model writes without).
/// Empty for what is not a parameter: the causal-mask buffers `attn.bias` and `attn.masked_bias`.
[[nodiscard]] std::string canonical_name(std::string_view name);

/// `model-00001-of-00004.safetensors` for ("model", 0, 4); `model.safetensors` for one shard.
[[nodiscard]] std::string shard_file_name(std::string_view stem, int shard_index, int num_shards);

/// Tensor name -> file name, as `<stem>.safetensors.index.json` holds it.
using WeightMap = std::map<std::string, std::string>;

[[nodiscard]] std::string make_index(const WeightMap& weight_map, std::uint64_t total_bytes);
/// FileError when it is not an index or a file name leads out of the directory.
[[nodiscard]] WeightMap parse_index(std::string_view text, const std::string& file_name);

}  // namespace halfpipe::checkpoint
