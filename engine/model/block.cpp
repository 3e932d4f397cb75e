// SPDX-License-Identifier: Apache-2.0
#include "engine/model/block.h"

namespace halfpipe::model {

Block::Block(const TransformerConfig& config,
             const std::vector<ParameterSpec>& model,
             int layer,
             Recompute recompute,
             std::int64_t B,
             ParameterSet& parameters,
             SavedLayout& layout)
    : C_(config.hidden_size), NH_(config.num_heads), recompute_(recompute) {
  const std::string prefix = block_prefix(layer);
  const std::int64_t F = config.mlp_size();
  norm1_ = make_norm(config, model, prefix + "ln_1", parameters);
  qkv_ = make_linear(config, model, prefix + "attn.c_attn", C_, 3 * C_, parameters);
  proj_ = make_linear(config, model, prefix + "attn.c_proj", C_, C_, parameters);
  norm2_ = make_norm(config, model, prefix + "ln_2", parameters);
  up_ = make_linear(config, model, prefix + "mlp.c_fc", C_, F, parameters);
  down_ = make_linear(config, model, prefix + "mlp.c_proj", F, C_, parameters);

  const std::int64_t N = B * config.seq_len;
  for (std::size_t i = 0; i < kNumStatistics; ++i) {
    const auto statistic = static_cast<Statistic>(i);
    statistic_ids_[i] = keeps(statistic) ? layout.declare(Lifetime::kForwardToBackwardInput,
                                                          count_of(statistic, N), DType::kFloat32)
                                         : -1;
  }
  for (std::size_t i = 0; i < kNumValues; ++i) {
    const auto value = static_cast<Value>(i);
    value_ids_[i] = layout.declare(lifetime_of(value), N * columns_of(value), config.dtype);
  }
}

std::int64_t Block::columns_of(Value value) const {
  switch (value) {
    case kQkv:
      return qkv_.out;
    case kUpOut:
    case kGeluOut:
      return up_.out;
    default:
      return C_;
  }
}

std::int64_t Block::count_of(Statistic statistic, std::int64_t N) const {
  return statistic == kLse ? N * NH_ : N;
}

float* Block::take(PassContext& ctx, Statistic statistic) const {
  return ctx.workspace.take<float>(count_of(statistic, ctx.N()));
}

// Gradients take the places of qkv, x2 and up_out, so those live until backward_weight, whoever
// computed them.
Lifetime Block::lifetime_of(Value value) const {
  const bool from_forward =
      recompute_ == Recompute::kNone ||
      (recompute_ == Recompute::kSelective && (value == kQkv || value == kX2 || value == kUpOut));
  return from_forward ? Lifetime::kForwardToBackwardWeight
                      : Lifetime::kBackwardInputToBackwardWeight;
}

bool Block::keeps(Statistic statistic) const {
  return recompute_ == Recompute::kNone ||
         (recompute_ == Recompute::kSelective && statistic != kLse);
}

ops::AttentionDims Block::attention_dims(const PassContext& ctx) const {
  return {.B = ctx.B, .T = ctx.T, .NH = NH_, .HS = C_ / NH_};
}

// -------------------------------------------------------------------------------------------------

void Block::forward_norm1(PassContext& ctx,
                          const ParameterSet& parameters,
                          const Places& at,
                          const void* x) const {
  norm_forward(ctx, parameters, norm1_, at.values[kNorm1Out], at.statistics[kMean1],
               at.statistics[kRstd1], x);
}

void Block::forward_attention(PassContext& ctx, const Places& at) const {
  const device::ArenaScope scope(ctx.workspace);
  const ops::AttentionDims dims = attention_dims(ctx);
  std::byte* scratch =
      ctx.workspace.take_bytes(ctx.ops.attention_forward_scratch_bytes(dims, ctx.dtype));
  if (ctx.counting()) return;
  ctx.ops.attention_forward({.out = at.values[kAttentionOut],
                             .lse = at.statistics[kLse],
                             .qkv = at.values[kQkv],
                             .dims = dims,
                             .scratch = scratch,
                             .dtype = ctx.dtype},
                            ctx.stream);
}

void Block::forward_norm2(PassContext& ctx,
                          const ParameterSet& parameters,
                          const Places& at) const {
  norm_forward(ctx, parameters, norm2_, at.values[kNorm2Out], at.statistics[kMean2],
               at.statistics[kRstd2], at.values[kX2]);
}

void Block::forward_gelu(PassContext& ctx, const Places& at) const {
  if (ctx.counting()) return;
  ctx.ops.gelu_forward({.out = at.values[kGeluOut],
                        .x = at.values[kUpOut],
                        .count = ctx.N() * up_.out,
                        .dtype = ctx.dtype},
                       ctx.stream);
}

void Block::forward_values(PassContext& ctx,
                           const ParameterSet& parameters,
                           const Places& at,
                           const void* x) const {
  forward_norm1(ctx, parameters, at, x);
  linear_forward(ctx, parameters, qkv_, at.values[kQkv], at.values[kNorm1Out], nullptr);
  forward_attention(ctx, at);
  linear_forward(ctx, parameters, proj_, at.values[kX2], at.values[kAttentionOut], x);
  forward_norm2(ctx, parameters, at);
  linear_forward(ctx, parameters, up_, at.values[kUpOut], at.values[kNorm2Out], nullptr);
  forward_gelu(ctx, at);
}

Block::Places Block::places_of_forward(PassContext& ctx, SavedTensors& saved) const {
  Places at;
  for (std::size_t i = 0; i < kNumStatistics; ++i) {
    const int id = statistic_ids_[i];
    at.statistics[i] = id >= 0 ? saved.save_floats(id) : take(ctx, static_cast<Statistic>(i));
  }
  if (recompute_ == Recompute::kNone) {
    for (std::size_t i = 0; i < kNumValues; ++i) at.values[i] = saved.save(value_ids_[i]);
    return at;
  }
  // One after the other is read for the last time before the next is written.
  std::byte* const narrow = ctx.take(ctx.N() * C_);
  for (const Value value : {kNorm1Out, kAttentionOut, kNorm2Out}) at.values[value] = narrow;
  const bool full = recompute_ == Recompute::kFull;
  at.values[kX2] = full ? ctx.take(ctx.N() * C_) : saved.save(value_ids_[kX2]);
  std::byte* const wide = ctx.take(ctx.N() * up_.out);
  at.values[kQkv] = full ? wide : saved.save(value_ids_[kQkv]);
  at.values[kUpOut] = full ? wide : saved.save(value_ids_[kUpOut]);
  at.values[kGeluOut] = wide;  // GELU may work in place
  return at;
}

void Block::forward(PassContext& ctx,
                    const ParameterSet& parameters,
                    void* y,
                    const void* x,
                    SavedTensors& saved) const {
  const device::ArenaScope scope(ctx.workspace);
  const Places at = places_of_forward(ctx, saved);
  forward_values(ctx, parameters, at, x);
  linear_forward(ctx, parameters, down_, y, at.values[kGeluOut], at.values[kX2]);
}

// -------------------------------------------------------------------------------------------------

void Block::begin_backward(SavedTensors& saved) const {
  for (std::size_t i = 0; i < kNumValues; ++i) {
    if (lifetime_of(static_cast<Value>(i)) == Lifetime::kBackwardInputToBackwardWeight) {
      (void)saved.save(value_ids_[i]);
    }
  }
}

Block::Places Block::recompute(PassContext& ctx,
                               const ParameterSet& parameters,
                               const void* x,
                               SavedTensors& saved) const {
  Places at;
  for (std::size_t i = 0; i < kNumValues; ++i) at.values[i] = saved.get(value_ids_[i]);
  for (std::size_t i = 0; i < kNumStatistics; ++i) {
    const int id = statistic_ids_[i];
    at.statistics[i] = id >= 0 ? saved.get_floats(id) : take(ctx, static_cast<Statistic>(i));
  }
  switch (recompute_) {
    case Recompute::kNone:
      break;
    case Recompute::kSelective:  // the norms' statistics are written once more, as they were
      forward_norm1(ctx, parameters, at, x);
      forward_attention(ctx, at);
      forward_norm2(ctx, parameters, at);
      forward_gelu(ctx, at);
      break;
    case Recompute::kFull:
      forward_values(ctx, parameters, at, x);
      break;
  }
  return at;
}

void Block::backward_input(PassContext& ctx,
                           const ParameterSet& parameters,
                           void* dx,
                           const void* dy,
                           const void* x,
                           SavedTensors& saved) const {
  const device::ArenaScope scope(ctx.workspace);
  const Places at = recompute(ctx, parameters, x, saved);
  std::byte* dnorm = ctx.take(ctx.N() * C_);  // gradient of a norm's output, or of attention_out

  std::byte* up_out = at.values[kUpOut];
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

  std::byte* x2 = at.values[kX2];
  norm_backward(ctx, parameters, norm2_, x2,
                {dnorm, x2, at.statistics[kMean2], at.statistics[kRstd2]}, dy);
  const void* dx2 = x2;

  linear_backward_input(ctx, parameters, proj_, dnorm, dx2);
  std::byte* qkv = at.values[kQkv];
  {
    const device::ArenaScope attention_scope(ctx.workspace);
    const ops::AttentionDims dims = attention_dims(ctx);
    std::byte* scratch =
        ctx.workspace.take_bytes(ctx.ops.attention_backward_scratch_bytes(dims, ctx.dtype));
    if (!ctx.counting()) {
      ctx.ops.attention_backward_input({.dqkv = qkv,
                                        .dout = dnorm,
                                        .qkv = qkv,
                                        .out = at.values[kAttentionOut],
                                        .lse = at.statistics[kLse],
                                        .dims = dims,
                                        .scratch = scratch,
                                        .dtype = ctx.dtype},
                                       ctx.stream);
    }
  }
  linear_backward_input(ctx, parameters, qkv_, dnorm, qkv);
  norm_backward(ctx, parameters, norm1_, dx,
                {dnorm, x, at.statistics[kMean1], at.statistics[kRstd1]}, dx2);
  for (const int id : statistic_ids_) {
    if (id >= 0) saved.release(id);
  }
}

void Block::backward_weight(PassContext& ctx,
                            const ParameterSet& parameters,
                            const void* dy,
                            SavedTensors& saved) const {
  const auto value = [&](Value which) { return saved.get(value_ids_[which]); };
  linear_backward_weight(ctx, parameters, down_, value(kGeluOut), dy);
  linear_backward_weight(ctx, parameters, up_, value(kNorm2Out), value(kUpOut));
  linear_backward_weight(ctx, parameters, proj_, value(kAttentionOut), value(kX2));
  linear_backward_weight(ctx, parameters, qkv_, value(kNorm1Out), value(kQkv));
  for (const int id : value_ids_) saved.release(id);
}

void Block::discard(SavedTensors& saved) const {
  for (const int id : statistic_ids_) {
    if (id >= 0) saved.release(id);
  }
  for (std::size_t i = 0; i < kNumValues; ++i) {
    if (lifetime_of(static_cast<Value>(i)) == Lifetime::kForwardToBackwardWeight) {
      saved.release(value_ids_[i]);
    }
  }
}

}  // namespace halfpipe::model
