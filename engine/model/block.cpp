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
  ids_.mean1 = layout.declare(until_input, N, DType::kFloat32);
  ids_.rstd1 = layout.declare(until_input, N, DType::kFloat32);
  ids_.mean2 = layout.declare(until_input, N, DType::kFloat32);
  ids_.rstd2 = layout.declare(until_input, N, DType::kFloat32);
  ids_.lse = layout.declare(until_input, N * NH_, DType::kFloat32);
  ids_.norm1_out = layout.declare(until_weight, N * C_, config.dtype);
  ids_.qkv = layout.declare(until_weight, N * 3 * C_, config.dtype);
  ids_.attention_out = layout.declare(until_weight, N * C_, config.dtype);
  ids_.x2 = layout.declare(until_weight, N * C_, config.dtype);
  ids_.norm2_out = layout.declare(until_weight, N * C_, config.dtype);
  ids_.up_out = layout.declare(until_weight, N * F, config.dtype);
  ids_.gelu_out = layout.declare(until_weight, N * F, config.dtype);
}

ops::AttentionDims Block::attention_dims(const PassContext& ctx) const {
  return {.B = ctx.B, .T = ctx.T, .NH = NH_, .HS = C_ / NH_};
}

void Block::forward(PassContext& ctx,
                    const ParameterSet& parameters,
                    void* y,
                    const void* x,
                    SavedTensors& saved) const {
  std::byte* norm1_out = saved.save(ids_.norm1_out);
  norm_forward(ctx, parameters, norm1_, norm1_out, saved.save_floats(ids_.mean1),
               saved.save_floats(ids_.rstd1), x);

  std::byte* qkv = saved.save(ids_.qkv);
  linear_forward(ctx, parameters, qkv_, qkv, norm1_out, nullptr);

  std::byte* attention_out = saved.save(ids_.attention_out);
  {
    const device::ArenaScope scope(ctx.workspace);
    const ops::AttentionDims dims = attention_dims(ctx);
    std::byte* scratch =
        ctx.workspace.take_bytes(ctx.ops.attention_forward_scratch_bytes(dims, ctx.dtype));
    float* lse = saved.save_floats(ids_.lse);
    if (!ctx.counting()) {
      ctx.ops.attention_forward({.out = attention_out,
                                 .lse = lse,
                                 .qkv = qkv,
                                 .dims = dims,
                                 .scratch = scratch,
                                 .dtype = ctx.dtype},
                                ctx.stream);
    }
  }

  std::byte* x2 = saved.save(ids_.x2);
  linear_forward(ctx, parameters, proj_, x2, attention_out, x);

  std::byte* norm2_out = saved.save(ids_.norm2_out);
  norm_forward(ctx, parameters, norm2_, norm2_out, saved.save_floats(ids_.mean2),
               saved.save_floats(ids_.rstd2), x2);

  std::byte* up_out = saved.save(ids_.up_out);
  linear_forward(ctx, parameters, up_, up_out, norm2_out, nullptr);
  std::byte* gelu_out = saved.save(ids_.gelu_out);
  if (!ctx.counting()) {
    ctx.ops.gelu_forward(
        {.out = gelu_out, .x = up_out, .count = ctx.N() * up_.out, .dtype = ctx.dtype}, ctx.stream);
  }
  linear_forward(ctx, parameters, down_, y, gelu_out, x2);
}

void Block::backward_input(PassContext& ctx,
                           const ParameterSet& parameters,
                           void* dx,
                           const void* dy,
                           const void* x,
                           SavedTensors& saved) const {
  const device::ArenaScope scope(ctx.workspace);
  std::byte* dnorm = ctx.take(ctx.N() * C_);  // gradient of a norm's output, or of attention_out

  std::byte* up_out = saved.get(ids_.up_out);
  {
    const device::ArenaScope gelu_scope(ctx.workspace);
    std::byte* dgelu_out = ctx.take(ctx.N() * up_.out);
    linear_backward_input(ctx, parameters, down_, dgelu_out, dy);
    if (!ctx.counting()) {
      ctx.ops.gelu_backward_input({.dx = up_out,
                                   .dout = dgelu_out,
                                   .x = up_out,
                                   .count = ctx.N() * up_.out,
                                   .dtype = ctx.dtype},
                                  ctx.stream);
    }
  }
  linear_backward_input(ctx, parameters, up_, dnorm, up_out);

  std::byte* x2 = saved.get(ids_.x2);
  norm_backward(ctx, parameters, norm2_, x2,
                {dnorm, x2, saved.get_floats(ids_.mean2), saved.get_floats(ids_.rstd2)}, dy);
  const void* dx2 = x2;

  linear_backward_input(ctx, parameters, proj_, dnorm, dx2);
  std::byte* qkv = saved.get(ids_.qkv);
  {
    const device::ArenaScope attention_scope(ctx.workspace);
    const ops::AttentionDims dims = attention_dims(ctx);
    std::byte* scratch =
        ctx.workspace.take_bytes(ctx.ops.attention_backward_scratch_bytes(dims, ctx.dtype));
    if (!ctx.counting()) {
      ctx.ops.attention_backward_input({.dqkv = qkv,
                                        .dout = dnorm,
                                        .qkv = qkv,
                                        .out = saved.get(ids_.attention_out),
                                        .lse = saved.get_floats(ids_.lse),
                                        .dims = dims,
                                        .scratch = scratch,
                                        .dtype = ctx.dtype},
                                       ctx.stream);
    }
  }
  linear_backward_input(ctx, parameters, qkv_, dnorm, qkv);
  norm_backward(ctx, parameters, norm1_, dx,
                {dnorm, x, saved.get_floats(ids_.mean1), saved.get_floats(ids_.rstd1)}, dx2);
  for (const int id : {ids_.mean1, ids_.rstd1, ids_.mean2, ids_.rstd2, ids_.lse}) saved.release(id);
}

void Block::backward_weight(PassContext& ctx,
                            const ParameterSet& parameters,
                            const void* dy,
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
