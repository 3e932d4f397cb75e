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
  ids_.mean = layout.declare(until_input, N);
  ids_.rstd = layout.declare(until_input, N);
  ids_.norm_out = layout.declare(until_input, N * C_);
  ids_.logits = layout.declare(until_input, N * V_);
}

void Head::forward(PassContext& ctx,
                   const ParameterSet& parameters,
                   const float* x,
                   const LossTargets& loss,
                   SavedTensors& saved) const {
  float* norm_out = saved.save(ids_.norm_out);
  norm_forward(ctx, parameters, norm_, norm_out, saved.save(ids_.mean), saved.save(ids_.rstd), x);
  float* logits = saved.save(ids_.logits);
  run_matmul(ctx, {.c = logits,
                   .a = norm_out,
                   .b = parameters[projection_].value,
                   .bias_or_null = nullptr,
                   .residual_or_null = nullptr,
                   .M = ctx.N(),
                   .N = V_,
                   .K = C_,
                   .transpose_a = false,
                   .transpose_b = true,
                   .accumulate = false,
                   .scratch = nullptr});
  if (ctx.counting()) return;
  ctx.ops.cross_entropy({.losses = loss.losses,
                         .logits = logits,
                         .targets = loss.targets,
                         .N = ctx.N(),
                         .V = V_,
                         .scale = loss.scale},
                        ctx.stream);
}

void Head::backward_input(PassContext& ctx,
                          const ParameterSet& parameters,
                          float* dx,
                          const float* x,
                          SavedTensors& saved) const {
  const device::ArenaScope scope(ctx.workspace);
  const Parameter& projection = parameters[projection_];
  const float* dlogits = saved.get(ids_.logits);
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
                   .scratch = nullptr});
  float* dnorm = ctx.workspace.take<float>(ctx.N() * C_);
  run_matmul(ctx, {.c = dnorm,
                   .a = dlogits,
                   .b = projection.value,
                   .bias_or_null = nullptr,
                   .residual_or_null = nullptr,
                   .M = ctx.N(),
                   .N = C_,
                   .K = V_,
                   .transpose_a = false,
                   .transpose_b = false,
                   .accumulate = false,
                   .scratch = nullptr});
  norm_backward(ctx, parameters, norm_, dx, {dnorm, x, saved.get(ids_.mean), saved.get(ids_.rstd)},
                nullptr);
  discard(saved);
}

void Head::discard(SavedTensors& saved) const {
  for (const int id : {ids_.mean, ids_.rstd, ids_.norm_out, ids_.logits}) saved.release(id);
}

}  // namespace halfpipe::model
