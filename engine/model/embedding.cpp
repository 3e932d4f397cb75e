// SPDX-License-Identifier: Apache-2.0
#include "engine/model/embedding.h"

namespace halfpipe::model {

Embedding::Embedding(const TransformerConfig& config,
                     const std::vector<ParameterSpec>& model,
                     ParameterSet& parameters)
    : token_table_(parameters.add(model, kTokenEmbeddingName)),
      position_table_(parameters.add(model, "transformer.wpe.weight")),
      C_(config.hidden_size) {}

void Embedding::forward(PassContext& ctx,
                        const ParameterSet& parameters,
                        void* out,
                        const std::int32_t* tokens) const {
  if (ctx.counting()) return;
  ctx.ops.embedding_forward({.out = out,
                             .tokens = tokens,
                             .token_table = parameters[token_table_].operand(),
                             .position_table = parameters[position_table_].operand(),
                             .B = ctx.B,
                             .T = ctx.T,
                             .C = C_,
                             .first_position = 0,
                             .dtype = ctx.dtype},
                            ctx.stream);
}

void Embedding::backward_input(PassContext& ctx,
                               const ParameterSet& parameters,
                               const void* dout,
                               const std::int32_t* tokens) const {
  if (ctx.counting()) return;
  ctx.ops.embedding_backward_weight({.dtoken_table = parameters[token_table_].gradient,
                                     .dposition_table = parameters[position_table_].gradient,
                                     .dout = dout,
                                     .tokens = tokens,
                                     .B = ctx.B,
                                     .T = ctx.T,
                                     .C = C_,
                                     .dtype = ctx.dtype},
                                    ctx.stream);
}

}  // namespace halfpipe::model
