// SPDX-License-Identifier: Apache-2.0
// The first layer: token plus learned position embedding. Tensor ranks share the token table by
// rows; each adds up the terms of its own ids for every token.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/model/layer.h"

namespace halfpipe::model {

class Embedding {
 public:
  Embedding(const TransformerConfig& config,
            const std::vector<ParameterSpec>& model,
            ParameterSet& parameters);

  /// out [rows, C] from tokens [B, T]. Saves nothing: the tokens of a step stay where they are.
  void forward(PassContext& ctx,
               const ParameterSet& parameters,
               void* out,
               const std::int32_t* tokens) const;
  /// Accumulates the gradients of both tables. Runs within the stage's backward_input: keeping dout
  /// [rows, C] until backward_weight would cost more than the sum saves.
  void backward_input(PassContext& ctx,
                      const ParameterSet& parameters,
                      const void* dout,
                      const std::int32_t* tokens) const;

 private:
  int token_table_;
  int position_table_;
  std::int64_t C_;
  TensorShard shard_;
  ops::TokenIds ids_;  // of the rank
};

}  // namespace halfpipe::model
