// SPDX-License-Identifier: Apache-2.0
// The shape of a GPT-2 family transformer: section `model` of a configuration.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/core/dtype.h"

namespace halfpipe::model {

/// What backward passes compute again, in place of keeping it (recompute.h).
enum class Recompute : std::uint8_t {
  kNone,
  kSelective,  // attention and what is one pass over memory: norms and GELU
  kFull,       // everything but the input of each block
};

struct TransformerConfig {
  std::string family = "gpt2";       // the only family
  int num_layers = 12;               // L    blocks
  int num_heads = 12;                // NH
  int hidden_size = 768;             // C
  int seq_len = 1024;                // T    tokens per training sequence; the longest context
  int vocab_size = 0;                // V    0 = auto: the size of the data's vocabulary
  bool bias = true;                  // biases in linear layers and norms
  bool tie_embeddings = true;        // the head is the token embedding
  DType dtype = DType::kFloat32;     // of activations and of the weights that passes read: key
                                     // train.precision; master weights are float32 always
  std::vector<Recompute> recompute;  // key train.recompute: none, one for all stages, or one each
  bool fused_gelu = false;           // key device.fused_gelu
  bool fused_bias_gradient = false;  // key device.fused_bias_gradient
  std::string init_from;             // a Hugging Face GPT-2 directory to start from; empty: random

  [[nodiscard]] int head_size() const { return hidden_size / num_heads; }  // HS
  [[nodiscard]] int mlp_size() const { return 4 * hidden_size; }           // F
  /// LayerNorm's epsilon in GPT-2.
  static constexpr float kNormEpsilon = 1e-5F;

  friend bool operator==(const TransformerConfig&, const TransformerConfig&) = default;
};

}  // namespace halfpipe::model
