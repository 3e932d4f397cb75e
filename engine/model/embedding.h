// SPDX-License-Identifier: Apache-2.0
// The first layer: token plus learned position embedding.
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

  /// out [N, C] from tokens [B, T]. Saves nothing: the tokens of a step stay where they are.
  void forward(PassContext& ctx,
               const ParameterSet& parameters,
               void* out,
               const std::int32_t* tokens) const;
  /// Accumulates the gradients of both tables. Runs within the stage's backward_input: keeping dout
  /// [N, C] until backward_weight would cost more than the sum saves.
  void backward_input(PassContext& ctx,
                      const ParameterSet& parameters,
                      const void* dout,
                      const std::int32_t* tokens) const;

 private:
  int token_table_;
  int position_table_;
  std::int64_t C_;
};

}  // namespace halfpipe::model
