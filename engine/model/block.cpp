// SPDX-License-Identifier: Apache-2.0
#include "engine/model/block.h"

namespace halfpipe::model {

Block::Block(const TransformerConfig& config,
             const std::vector<ParameterSpec>& model,
             int layer,
             std::int64_t B,
             ParameterSet& parameters,
             SavedLayout& layout)
    : C_(config.hidden_size), NH_(config.num_heads) {
  const std::string prefix = block_prefix(layer);
  const std::int64_t F = config.mlp_size();
  norm1_ = make_norm(config, model, prefix + "ln_1", parameters);
  qkv_ = make_linear(config, model, prefix + "attn.c_attn", C_, 3 * C_, parameters);
  proj_ = make_linear(config, model, prefix + "attn.c_proj", C_, C_, parameters);
  norm2_ = make_norm(config, model, prefix + "ln_2", parameters);
  up_ = make_linear(config, model, prefix + "mlp.c_fc", C_, F, parameters);
  down_ = make_linear(config, model, prefix + "mlp.c_proj", F, C_, parameters);

  const std::int64_t N = B * config.seq_len;
  const auto until_input = Lifetime::kForwardToBackwardInput;
  const auto until_weight = Lifetime::kForwardToBackwardWeight;
  ids_.mean1 = layout.declare(until_input, N);
  ids_.rstd1 = layout.declare(until_input, N);
  ids_.mean2 = layout.declare(until_input, N);
  ids_.rstd2 = layout.declare(until_input, N);
  ids_.lse = layout.declare(until_input, N * NH_);
  ids_.norm1_out = layout.declare(until_weight, N * C_);
  ids_.qkv = layout.declare(until_weight, N * 3 * C_);
  ids_.attention_out = layout.declare(until_weight, N * C_);
  ids_.x2 = layout.declare(until_weight, N * C_);
  ids_.norm2_out = layout.declare(until_weight, N * C_);
  ids_.up_out = layout.declare(until_weight, N * F);
  ids_.gelu_out = layout.declare(until_weight, N * F);
}

ops::AttentionDims Block::attention_dims(const PassContext& ctx) const {
  return {.B = ctx.B, .T = ctx.T, .NH = NH_, .HS = C_ / NH_};
}

void Block::forward(PassContext& ctx,
                    const ParameterSet& parameters,
                    float* y,
                    const float* x,
                    SavedTensors& saved) const {
  float* norm1_out = saved.save(ids_.norm1_out);
  norm_forward(ctx, parameters, norm1_, norm1_out, saved.save(ids_.mean1), saved.save(ids_.rstd1),
               x);

  float* qkv = saved.save(ids_.qkv);
  linear_forward(ctx, parameters, qkv_, qkv, norm1_out, nullptr);

  float* attention_out = saved.save(ids_.attention_out);
  {
    const device::ArenaScope scope(ctx.workspace);
    const ops::AttentionDims dims = attention_dims(ctx);
    std::byte* scratch = ctx.workspace.take_bytes(ctx.ops.attention_forward_scratch_bytes(dims));
    float* lse = saved.save(ids_.lse);
    if (!ctx.counting()) {
      ctx.ops.attention_forward(
          {.out = attention_out, .lse = lse, .qkv = qkv, .dims = dims, .scratch = scratch},
          ctx.stream);
    }
  }

  float* x2 = saved.save(ids_.x2);
  linear_forward(ctx, parameters, proj_, x2, attention_out, x);

  float* norm2_out = saved.save(ids_.norm2_out);
  norm_forward(ctx, parameters, norm2_, norm2_out, saved.save(ids_.mean2), saved.save(ids_.rstd2),
               x2);

  float* up_out = saved.save(ids_.up_out);
  linear_forward(ctx, parameters, up_, up_out, norm2_out, nullptr);
  float* gelu_out = saved.save(ids_.gelu_out);
  if (!ctx.counting()) {
    ctx.ops.gelu_forward({.out = gelu_out, .x = up_out, .count = ctx.N() * up_.out}, ctx.stream);
  }
  linear_forward(ctx, parameters, down_, y, gelu_out, x2);
}

void Block::backward_input(PassContext& ctx,
                           const ParameterSet& parameters,
                           float* dx,
                           const float* dy,
                           const float* x,
                           SavedTensors& saved) const {
  const device::ArenaScope scope(ctx.workspace);
  float* dnorm =
      ctx.workspace.take<float>(ctx.N() * C_);  // gradient of a norm's output, or of attention_out

  float* up_out = saved.get(ids_.up_out);
  {
    const device::ArenaScope gelu_scope(ctx.workspace);
    float* dgelu_out = ctx.workspace.take<float>(ctx.N() * up_.out);
    linear_backward_input(ctx, parameters, down_, dgelu_out, dy);
    if (!ctx.counting()) {
      ctx.ops.gelu_backward_input(
          {.dx = up_out, .dout = dgelu_out, .x = up_out, .count = ctx.N() * up_.out}, ctx.stream);
    }
  }
  linear_backward_input(ctx, parameters, up_, dnorm, up_out);

  float* x2 = saved.get(ids_.x2);
  norm_backward(ctx, parameters, norm2_, x2,
                {dnorm, x2, saved.get(ids_.mean2), saved.get(ids_.rstd2)}, dy);
  const float* dx2 = x2;

  linear_backward_input(ctx, parameters, proj_, dnorm, dx2);
  float* qkv = saved.get(ids_.qkv);
  {
    const device::ArenaScope attention_scope(ctx.workspace);
    const ops::AttentionDims dims = attention_dims(ctx);
    std::byte* scratch = ctx.workspace.take_bytes(ctx.ops.attention_backward_scratch_bytes(dims));
    if (!ctx.counting()) {
      ctx.ops.attention_backward_input({.dqkv = qkv,
                                        .dout = dnorm,
                                        .qkv = qkv,
                                        .out = saved.get(ids_.attention_out),
                                        .lse = saved.get(ids_.lse),
                                        .dims = dims,
                                        .scratch = scratch},
                                       ctx.stream);
    }
  }
  linear_backward_input(ctx, parameters, qkv_, dnorm, qkv);
  norm_backward(ctx, parameters, norm1_, dx,
                {dnorm, x, saved.get(ids_.mean1), saved.get(ids_.rstd1)}, dx2);
  for (const int id : {ids_.mean1, ids_.rstd1, ids_.mean2, ids_.rstd2, ids_.lse}) saved.release(id);
}

void Block::backward_weight(PassContext& ctx,
                            const ParameterSet& parameters,
                            const float* dy,
                            SavedTensors& saved) const {
  linear_backward_weight(ctx, parameters, down_, saved.get(ids_.gelu_out), dy);
  linear_backward_weight(ctx, parameters, up_, saved.get(ids_.norm2_out), saved.get(ids_.up_out));
  linear_backward_weight(ctx, parameters, proj_, saved.get(ids_.attention_out), saved.get(ids_.x2));
  linear_backward_weight(ctx, parameters, qkv_, saved.get(ids_.norm1_out), saved.get(ids_.qkv));
  for (const int id : {ids_.norm1_out, ids_.qkv, ids_.attention_out, ids_.x2, ids_.norm2_out,
                       ids_.up_out, ids_.gelu_out}) {
    saved.release(id);
  }
}

void Block::discard(SavedTensors& saved) const {
  for (const int id :
       {ids_.mean1, ids_.rstd1, ids_.mean2, ids_.rstd2, ids_.lse, ids_.norm1_out, ids_.qkv,
        ids_.attention_out, ids_.x2, ids_.norm2_out, ids_.up_out, ids_.gelu_out}) {
    saved.release(id);
  }
}

}  // namespace halfpipe::model
