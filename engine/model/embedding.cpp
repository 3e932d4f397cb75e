// SPDX-License-Identifier: Apache-2.0
#include "engine/model/embedding.h"

#include "engine/model/shared_rows.h"

namespace halfpipe::model {

Embedding::Embedding(const TransformerConfig& config,
                     const std::vector<ParameterSpec>& model,
                     ParameterSet& parameters)
    : token_table_(parameters.add(model,
                                  kTokenEmbeddingName,
                                  Sharing::kRows,
                                  vocabulary_rows(config.vocab_size, parameters.shard()))),
      position_table_(parameters.add(model, "transformer.wpe.weight")),
      C_(config.hidden_size),
      shard_(parameters.shard()) {
  const TensorSlice& slice = parameters[token_table_].slice;
  if (shard_.is_shared()) ids_ = {.begin = slice.begin, .end = slice.end};
}

void Embedding::forward(PassContext& ctx,
                        const ParameterSet& parameters,
                        void* out,
                        const std::int32_t* tokens) const {
  const device::ArenaScope scope(ctx.workspace);
  void* terms = shard_.is_shared() ? ctx.take(ctx.N() * C_) : out;
  if (!ctx.counting()) {
    // One of the ranks adds the position, so that a sum has the bits of the whole table's.
    const void* positions = shard_.rank == 0 ? parameters[position_table_].operand() : nullptr;
    ctx.ops.embedding_forward({.out = terms,
                               .tokens = tokens,
                               .token_table = parameters[token_table_].operand(),
                               .position_table = positions,
                               .B = ctx.B,
                               .T = ctx.T,
                               .C = C_,
                               .first_position = 0,
                               .dtype = ctx.dtype,
                               .ids = ids_},
                              ctx.stream);
  }
  if (!shard_.is_shared()) return;
  scatter_sum(
      ctx,
      {.out = out, .terms = terms, .bias_or_null = nullptr, .residual_or_null = nullptr, .C = C_});
}

void Embedding::backward_input(PassContext& ctx,
                               const ParameterSet& parameters,
                               const void* dout,
                               const std::int32_t* tokens) const {
  const device::ArenaScope scope(ctx.workspace);
  const void* whole = gathered(ctx, dout, C_);
  if (ctx.counting()) return;
  ctx.ops.embedding_backward_weight({.dtoken_table = parameters[token_table_].gradient,
                                     .dposition_table = parameters[position_table_].gradient,
                                     .dout = whole,
                                     .tokens = tokens,
                                     .B = ctx.B,
                                     .T = ctx.T,
                                     .C = C_,
                                     .dtype = ctx.dtype,
                                     .ids = ids_},
                                    ctx.stream);
}

}  // namespace halfpipe::model
