// SPDX-License-Identifier: Apache-2.0
#include "engine/model/decoder.h"

#include "kernels/core/error.h"
#include "kernels/device/backend.h"

namespace halfpipe::model {

Decoder::Decoder(const TransformerConfig& config, device::Backend& backend)
    : config_(config), backend_(backend), stream_(backend.make_stream("generation")) {
  const std::vector<ParameterSpec> model = all_parameters(config);
  const std::int64_t C = config.hidden_size;
  const std::int64_t F = config.mlp_size();
  token_table_ = parameters_.add(model, kTokenEmbeddingName);
  position_table_ = parameters_.add(model, "transformer.wpe.weight");
  for (int layer = 0; layer < config.num_layers; ++layer) {
    const std::string prefix = block_prefix(layer);
    blocks_.push_back({make_norm(config, model, prefix + "ln_1", parameters_),
                       make_norm(config, model, prefix + "ln_2", parameters_),
                       make_linear(config, model, prefix + "attn.c_attn", C, 3 * C, parameters_),
                       make_linear(config, model, prefix + "attn.c_proj", C, C, parameters_),
                       make_linear(config, model, prefix + "mlp.c_fc", C, F, parameters_),
                       make_linear(config, model, prefix + "mlp.c_proj", F, C, parameters_)});
  }
  final_norm_ = make_norm(config, model, "transformer.ln_f", parameters_);
  projection_ = config.tie_embeddings ? token_table_ : parameters_.add(model, "lm_head.weight");
  parameters_.allocate(backend, DType::kFloat32);
  const auto T = static_cast<std::size_t>(config.seq_len);
  cache_ = device::Buffer(backend, 2 * static_cast<std::size_t>(config.num_layers) * T *
                                       static_cast<std::size_t>(C) * sizeof(float));
  tokens_ = device::Buffer(backend, T * sizeof(std::int32_t));
  logits_.resize(static_cast<std::size_t>(config.vocab_size));
  scratch_ = device::Buffer(backend, scratch_bytes());
}

float* Decoder::cache(std::size_t layer, std::size_t which) const {
  const auto plane =
      static_cast<std::size_t>(config_.seq_len) * static_cast<std::size_t>(config_.hidden_size);
  return cache_.as<float>() + (2 * layer + which) * plane;
}

std::size_t Decoder::scratch_bytes() {
  device::Arena counting = device::Arena::counting();
  PassContext ctx{backend_.ops(), *stream_, counting, 1, config_.seq_len, DType::kFloat32};
  run(ctx);
  return counting.high_water();
}

std::span<const float> Decoder::extend(std::span<const std::int32_t> tokens) {
  const auto n = static_cast<std::int64_t>(tokens.size());
  HALFPIPE_CHECK(n >= 1 && n <= config_.seq_len - length_, "the cache has no room for the tokens");
  backend_.copy_async(tokens_.bytes_pointer(), tokens.data(), tokens.size_bytes(), *stream_);
  device::Arena arena(scratch_.bytes_pointer(), scratch_.bytes());
  PassContext ctx{backend_.ops(), *stream_, arena, 1, n, DType::kFloat32};
  const float* logits = run(ctx);
  backend_.copy_async(logits_.data(), logits, logits_.size() * sizeof(float), *stream_);
  stream_->synchronize();
  length_ += static_cast<int>(n);
  return logits_;
}

float* Decoder::run(PassContext& ctx) {
  const std::int64_t n = ctx.T;
  const std::int64_t C = config_.hidden_size;
  auto* logits = ctx.workspace.take<float>(config_.vocab_size);
  auto* x = ctx.workspace.take<float>(n * C);
  if (!ctx.counting()) {
    ctx.ops.embedding_forward({.out = x,
                               .tokens = tokens_.as<std::int32_t>(),
                               .token_table = parameters_[token_table_].value,
                               .position_table = parameters_[position_table_].value,
                               .B = 1,
                               .T = n,
                               .C = C,
                               .first_position = length_},
                              ctx.stream);
  }
  for (std::size_t layer = 0; layer < blocks_.size(); ++layer) run_block(ctx, layer, x);

  const device::ArenaScope scope(ctx.workspace);
  PassContext last{ctx.ops, ctx.stream, ctx.workspace, 1, 1, DType::kFloat32};
  auto* mean = ctx.workspace.take<float>(1);
  auto* rstd = ctx.workspace.take<float>(1);
  auto* norm_out = ctx.workspace.take<float>(C);
  const float* last_row = ctx.counting() ? nullptr : x + (n - 1) * C;
  norm_forward(last, parameters_, final_norm_, norm_out, mean, rstd, last_row);
  run_matmul(last, {.c = logits,
                    .a = norm_out,
                    .b = parameters_[projection_].value,
                    .bias_or_null = nullptr,
                    .residual_or_null = nullptr,
                    .M = 1,
                    .N = config_.vocab_size,
                    .K = C,
                    .transpose_a = false,
                    .transpose_b = true,
                    .accumulate = false,
                    .scratch = nullptr});
  return logits;
}

void Decoder::run_block(PassContext& ctx, std::size_t layer, float* x) {
  const device::ArenaScope scope(ctx.workspace);
  const BlockParameters& block = blocks_[layer];
  const std::int64_t n = ctx.T;
  const std::int64_t C = config_.hidden_size;
  auto* mean = ctx.workspace.take<float>(n);
  auto* rstd = ctx.workspace.take<float>(n);
  auto* norm_out = ctx.workspace.take<float>(n * C);
  auto* wide = ctx.workspace.take<float>(n * config_.mlp_size());  // qkv first, then the MLP
  auto* attention_out = ctx.workspace.take<float>(n * C);

  norm_forward(ctx, parameters_, block.norm1, norm_out, mean, rstd, x);
  linear_forward(ctx, parameters_, block.qkv, wide, norm_out, nullptr);
  attend(ctx, layer, attention_out, wide);
  linear_forward(ctx, parameters_, block.proj, x, attention_out, x);

  norm_forward(ctx, parameters_, block.norm2, norm_out, mean, rstd, x);
  linear_forward(ctx, parameters_, block.up, wide, norm_out, nullptr);
  if (!ctx.counting()) {
    ctx.ops.gelu_forward({.out = wide, .x = wide, .count = n * config_.mlp_size()}, ctx.stream);
  }
  linear_forward(ctx, parameters_, block.down, x, wide, x);
}

void Decoder::attend(PassContext& ctx, std::size_t layer, float* out, const float* qkv) {
  if (ctx.counting()) return;
  const std::int64_t C = config_.hidden_size;
  const auto row_bytes = static_cast<std::size_t>(C) * sizeof(float);
  for (std::int64_t i = 0; i < ctx.T; ++i) {
    const std::int64_t position = length_ + i;
    const float* row = qkv + i * 3 * C;
    backend_.copy_async(cache(layer, 0) + position * C, row + C, row_bytes, ctx.stream);
    backend_.copy_async(cache(layer, 1) + position * C, row + 2 * C, row_bytes, ctx.stream);
    ctx.ops.attention_decode({.out = out + i * C,
                              .q = row,
                              .q_stride = 3 * C,
                              .k = cache(layer, 0),
                              .v = cache(layer, 1),
                              .B = 1,
                              .T_max = config_.seq_len,
                              .NH = config_.num_heads,
                              .HS = config_.head_size(),
                              .position = position},
                             ctx.stream);
  }
}

}  // namespace halfpipe::model
