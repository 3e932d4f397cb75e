// SPDX-License-Identifier: Apache-2.0
#include "engine/model/head.h"

namespace halfpipe::model {

Head::Head(const TransformerConfig& config,
           const std::vector<ParameterSpec>& model,
           std::int64_t B,
           ParameterSet& parameters,
           SavedLayout& layout)
    : C_(config.hidden_size), V_(config.vocab_size), tied_(config.tie_embeddings) {
  norm_ = make_norm(config, model, "transformer.ln_f", parameters);
  projection_ = parameters.add(model, tied_ ? kTokenEmbeddingName : "lm_head.weight");
  parameters[projection_].has_head_gradient = tied_;

  const std::int64_t N = B * config.seq_len;
  const auto until_input = Lifetime::kForwardToBackwardInput;
  ids_.mean = layout.declare(until_input, N, DType::kFloat32);
  ids_.rstd = layout.declare(until_input, N, DType::kFloat32);
  ids_.norm_out = layout.declare(until_input, N * C_, config.dtype);
  ids_.logits = layout.declare(until_input, N * V_, config.dtype);
}

void Head::forward(PassContext& ctx,
                   const ParameterSet& parameters,
                   const void* x,
                   const LossTargets& loss,
                   SavedTensors& saved) const {
  std::byte* norm_out = saved.save(ids_.norm_out);
  norm_forward(ctx, parameters, norm_, norm_out, saved.save_floats(ids_.mean),
               saved.save_floats(ids_.rstd), x);
  std::byte* logits = saved.save(ids_.logits);
  run_matmul(ctx, {.c = logits,
                   .a = norm_out,
                   .b = parameters[projection_].operand(),
                   .bias_or_null = nullptr,
                   .residual_or_null = nullptr,
                   .M = ctx.N(),
                   .N = V_,
                   .K = C_,
                   .transpose_a = false,
                   .transpose_b = true,
                   .accumulate = false,
                   .scratch = nullptr,
                   .dtype = ctx.dtype});
  if (ctx.counting()) return;
  ctx.ops.cross_entropy({.losses = loss.losses,
                         .logits = logits,
                         .targets = loss.targets,
                         .N = ctx.N(),
                         .V = V_,
                         .scale = loss.scale,
                         .dtype = ctx.dtype},
                        ctx.stream);
}

void Head::backward_input(PassContext& ctx,
                          const ParameterSet& parameters,
                          void* dx,
                          const void* x,
                          SavedTensors& saved) const {
  const device::ArenaScope scope(ctx.workspace);
  const Parameter& projection = parameters[projection_];
  const std::byte* dlogits = saved.get(ids_.logits);
  run_matmul(ctx, {.c = tied_ ? projection.head_gradient : projection.gradient,
                   .a = dlogits,
                   .b = saved.get(ids_.norm_out),
                   .bias_or_null = nullptr,
                   .residual_or_null = nullptr,
                   .M = V_,
                   .N = C_,
                   .K = ctx.N(),
                   .transpose_a = true,
                   .transpose_b = false,
                   .accumulate = true,
                   .scratch = nullptr,
                   .dtype = ctx.dtype});
  std::byte* dnorm = ctx.take(ctx.N() * C_);
  run_matmul(ctx, {.c = dnorm,
                   .a = dlogits,
                   .b = projection.operand(),
                   .bias_or_null = nullptr,
                   .residual_or_null = nullptr,
                   .M = ctx.N(),
                   .N = C_,
                   .K = V_,
                   .transpose_a = false,
                   .transpose_b = false,
                   .accumulate = false,
                   .scratch = nullptr,
                   .dtype = ctx.dtype});
  norm_backward(ctx, parameters, norm_, dx,
                {dnorm, x, saved.get_floats(ids_.mean), saved.get_floats(ids_.rstd)}, nullptr);
  discard(saved);
}

void Head::discard(SavedTensors& saved) const {
  for (const int id : {ids_.mean, ids_.rstd, ids_.norm_out, ids_.logits}) saved.release(id);
}

}  // namespace halfpipe::model
