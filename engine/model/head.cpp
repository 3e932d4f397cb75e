// SPDX-License-Identifier: Apache-2.0
#include "engine/model/head.h"

#include <algorithm>

#include "engine/model/shared_rows.h"

namespace halfpipe::model {

namespace {

constexpr std::int64_t kStatistics = 3;  // of a token, in ops::CrossEntropyStatistics

}  // namespace

Head::Head(const TransformerConfig& config,
           const std::vector<ParameterSpec>& model,
           std::int64_t B,
           ParameterSet& parameters,
           SavedLayout& layout)
    : C_(config.hidden_size),
      shard_(parameters.shard()),
      V_(vocabulary_rows(config.vocab_size, parameters.shard())),
      first_id_(parameters.shard().rank * V_),
      num_ids_(std::clamp<std::int64_t>(config.vocab_size - first_id_, 0, V_)),
      tied_(config.tie_embeddings) {
  norm_ = make_norm(config, model, "transformer.ln_f", parameters);
  projection_ =
      parameters.add(model, tied_ ? kTokenEmbeddingName : "lm_head.weight", Sharing::kRows, V_);
  parameters[projection_].has_head_gradient = tied_;

  const std::int64_t N = B * config.seq_len;
  const std::int64_t rows = N / shard_.ranks;
  const auto until_input = Lifetime::kForwardToBackwardInput;
  ids_.mean = layout.declare(until_input, rows, DType::kFloat32);
  ids_.rstd = layout.declare(until_input, rows, DType::kFloat32);
  ids_.norm_out = layout.declare(until_input, (keeps_gathered() ? N : rows) * C_, config.dtype);
  ids_.logits = layout.declare(until_input, N * V_, config.dtype);
}

void Head::forward(PassContext& ctx,
                   const ParameterSet& parameters,
                   const void* x,
                   const LossTargets& loss,
                   SavedTensors& saved) const {
  std::byte* kept = saved.save(ids_.norm_out);
  std::byte* part = keeps_gathered() ? own_rows(ctx, kept, C_) : kept;
  norm_forward(ctx, parameters, norm_, part, saved.save_floats(ids_.mean),
               saved.save_floats(ids_.rstd), x);
  if (keeps_gathered()) gather_rows(ctx, kept, part, C_);
  std::byte* logits = saved.save(ids_.logits);
  const device::ArenaScope scope(ctx.workspace);
  run_matmul(ctx, {.c = logits,
                   .a = keeps_gathered() ? kept : gathered(ctx, part, C_),
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
  cross_entropy(ctx, logits, loss);
}

void Head::cross_entropy(PassContext& ctx, void* logits, const LossTargets& loss) const {
  if (!shard_.is_shared()) {
    ops::CrossEntropy args{.losses = loss.losses,
                           .logits = logits,
                           .targets = loss.targets,
                           .N = ctx.N(),
                           .V = V_,
                           .scale = loss.scale,
                           .dtype = ctx.dtype};
    args.scratch = scratch_or_null(ctx, ctx.ops.cross_entropy_scratch_bytes(args));
    if (!ctx.counting()) ctx.ops.cross_entropy(args, ctx.stream);
    return;
  }
  const std::int64_t count = ctx.N() * kStatistics;
  auto* all = ctx.workspace.take<float>(shard_.ranks * count);
  if (ctx.counting()) return;
  float* own = all + shard_.rank * count;
  ctx.ops.cross_entropy_statistics({.statistics = own,
                                    .logits = logits,
                                    .targets = loss.targets,
                                    .N = ctx.N(),
                                    .V = num_ids_,
                                    .stride = V_,
                                    .first_id = first_id_,
                                    .dtype = ctx.dtype},
                                   ctx.stream);
  ctx.tensor().all_gather(reinterpret_cast<std::byte*>(all), reinterpret_cast<std::byte*>(own),
                          static_cast<std::size_t>(count) * sizeof(float), ctx.stream);
  ctx.ops.cross_entropy_of_slice({.losses = loss.losses,
                                  .logits = logits,
                                  .targets = loss.targets,
                                  .statistics = all,
                                  .num_slices = shard_.ranks,
                                  .N = ctx.N(),
                                  .V = num_ids_,
                                  .stride = V_,
                                  .first_id = first_id_,
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
  {
    const device::ArenaScope norm_scope(ctx.workspace);
    const std::byte* kept = saved.get(ids_.norm_out);
    run_matmul(ctx, {.c = tied_ ? projection.head_gradient : projection.gradient,
                     .a = dlogits,
                     .b = keeps_gathered() ? kept : gathered(ctx, kept, C_),
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
  }
  std::byte* dnorm = ctx.take(ctx.rows() * C_);
  {
    const device::ArenaScope terms_scope(ctx.workspace);
    std::byte* terms = shard_.is_shared() ? ctx.take(ctx.N() * C_) : dnorm;
    run_matmul(ctx, {.c = terms,
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
    if (shard_.is_shared()) {
      scatter_sum(ctx, {.out = dnorm,
                        .terms = terms,
                        .bias_or_null = nullptr,
                        .residual_or_null = nullptr,
                        .C = C_});
    }
  }
  norm_backward(ctx, parameters, norm_, dx,
                {dnorm, x, saved.get_floats(ids_.mean), saved.get_floats(ids_.rstd)}, nullptr);
  discard(saved);
}

void Head::discard(SavedTensors& saved) const {
  for (const int id : {ids_.mean, ids_.rstd, ids_.norm_out, ids_.logits}) saved.release(id);
}

}  // namespace halfpipe::model
