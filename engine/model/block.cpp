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
    : C_(config.hidden_size),
      shard_(parameters.shard()),
      NH_(config.num_heads / parameters.shard().ranks),
      HS_(config.head_size()),
      recompute_(recompute),
      fused_gelu_(config.fused_gelu),
      fused_bias_gradient_(config.fused_bias_gradient && config.bias) {
  // Computed again from a pre-activation that was rounded, GELU would have other bits.
  HALFPIPE_CHECK(!fused_gelu_ || recompute_ == Recompute::kNone,
                 "device.fused_gelu with a GELU that is computed again");
  const std::string prefix = block_prefix(layer);
  const std::int64_t F = config.mlp_size();
  norm1_ = make_norm(config, model, prefix + "ln_1", parameters);
  const auto linear = [&](const char* name, std::int64_t in, std::int64_t out, Sharing sharing) {
    return make_linear(config, model, prefix + name, in, out, parameters, sharing);
  };
  qkv_ = linear("attn.c_attn", C_, 3 * C_, Sharing::kColumnsOfThree);
  proj_ = linear("attn.c_proj", C_, C_, Sharing::kRows);
  norm2_ = make_norm(config, model, prefix + "ln_2", parameters);
  up_ = linear("mlp.c_fc", C_, F, Sharing::kColumns);
  down_ = linear("mlp.c_proj", F, C_, Sharing::kRows);

  const std::int64_t N = B * config.seq_len;
  for (std::size_t i = 0; i < kNumStatistics; ++i) {
    const auto statistic = static_cast<Statistic>(i);
    statistic_ids_[i] = keeps(statistic) ? layout.declare(Lifetime::kForwardToBackwardInput,
                                                          count_of(statistic, N), DType::kFloat32)
                                         : -1;
  }
  for (std::size_t i = 0; i < kNumValues; ++i) {
    const auto value = static_cast<Value>(i);
    const std::int64_t count = count_of(value, N);
    value_ids_[i] = count > 0 ? layout.declare(lifetime_of(value), count, config.dtype) : -1;
  }
}

std::int64_t Block::count_of(Value value, std::int64_t N) const {
  switch (value) {
    case kNorm1Out:
    case kNorm2Out:
      return keeps_gathered() ? N * C_ : N / shard_.ranks * C_;
    case kQkv:
      return N * qkv_.out;
    case kAttentionOut:
      return N * proj_.in;
    case kX2:
      return N / shard_.ranks * C_;
    case kUpOut:
    case kGeluOut:
      return N * up_.out;
    case kDyGathered:
    case kDx2Gathered:
      return keeps_gathered() ? N * C_ : 0;
    case kNumValues:
      break;
  }
  throw InternalError("a block has no such value");
}

std::int64_t Block::count_of(Statistic statistic, std::int64_t N) const {
  return statistic == kLse ? N * NH_ : N / shard_.ranks;
}

float* Block::take(PassContext& ctx, Statistic statistic) const {
  return ctx.workspace.take<float>(count_of(statistic, ctx.N()));
}

// Gradients take the places of qkv, x2 and up_out, so those live until backward_weight, whoever
// computed them.
Lifetime Block::lifetime_of(Value value) const {
  if (value == kDyGathered || value == kDx2Gathered) {
    return Lifetime::kBackwardInputToBackwardWeight;
  }
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
  return {.B = ctx.B, .T = ctx.T, .NH = NH_, .HS = HS_};
}

// -------------------------------------------------------------------------------------------------

void* Block::norm_out(const PassContext& ctx, void* value) const {
  return keeps_gathered() ? own_rows(ctx, value, C_) : value;
}

const void* Block::whole_norm(PassContext& ctx, const void* value) const {
  return keeps_gathered() ? value : gathered(ctx, value, C_);
}

const void* Block::whole_gradient(PassContext& ctx,
                                  Value place,
                                  const void* part,
                                  const SavedTensors& saved) const {
  if (!keeps_gathered()) return gathered(ctx, part, C_);
  std::byte* whole = saved.get(value_ids_[place]);
  gather_rows(ctx, whole, part, C_);
  return whole;
}

void Block::forward_norm1(PassContext& ctx,
                          const ParameterSet& parameters,
                          const Places& at,
                          const void* x) const {
  void* out = norm_out(ctx, at.values[kNorm1Out]);
  norm_forward(ctx, parameters, norm1_, out, at.statistics[kMean1], at.statistics[kRstd1], x);
  if (keeps_gathered()) gather_rows(ctx, at.values[kNorm1Out], out, C_);
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
  void* out = norm_out(ctx, at.values[kNorm2Out]);
  norm_forward(ctx, parameters, norm2_, out, at.statistics[kMean2], at.statistics[kRstd2],
               at.values[kX2]);
  if (keeps_gathered()) gather_rows(ctx, at.values[kNorm2Out], out, C_);
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
  {
    const device::ArenaScope scope(ctx.workspace);
    const void* norm1 = whole_norm(ctx, at.values[kNorm1Out]);
    linear_forward(ctx, parameters, qkv_, at.values[kQkv], norm1, nullptr);
  }
  forward_attention(ctx, at);
  linear_forward_of_rows(ctx, parameters, proj_, at.values[kX2], at.values[kAttentionOut], x);
  forward_norm2(ctx, parameters, at);
  {
    const device::ArenaScope scope(ctx.workspace);
    const void* norm2 = whole_norm(ctx, at.values[kNorm2Out]);
    if (fused_gelu_) {
      linear_gelu_forward(ctx, parameters, up_, at.values[kGeluOut], at.values[kUpOut], norm2);
      return;
    }
    linear_forward(ctx, parameters, up_, at.values[kUpOut], norm2, nullptr);
  }
  forward_gelu(ctx, at);
}

Block::Places Block::places_of_forward(PassContext& ctx, SavedTensors& saved) const {
  Places at;
  for (std::size_t i = 0; i < kNumStatistics; ++i) {
    const int id = statistic_ids_[i];
    at.statistics[i] = id >= 0 ? saved.save_floats(id) : take(ctx, static_cast<Statistic>(i));
  }
  if (recompute_ == Recompute::kNone) {
    for (std::size_t i = 0; i < kNumValues; ++i) {
      if (lifetime_of(static_cast<Value>(i)) == Lifetime::kForwardToBackwardWeight) {
        at.values[i] = saved.save(value_ids_[i]);
      }
    }
    return at;
  }
  // One after the other is read for the last time before the next is written.
  std::byte* const narrow = ctx.take(count_of(kNorm1Out, ctx.N()));  // not less than attention_out
  for (const Value value : {kNorm1Out, kAttentionOut, kNorm2Out}) at.values[value] = narrow;
  const bool full = recompute_ == Recompute::kFull;
  at.values[kX2] = full ? ctx.take(count_of(kX2, ctx.N())) : saved.save(value_ids_[kX2]);
  std::byte* const wide = ctx.take(count_of(kUpOut, ctx.N()));
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
  linear_forward_of_rows(ctx, parameters, down_, y, at.values[kGeluOut], at.values[kX2]);
}

// -------------------------------------------------------------------------------------------------

void Block::begin_backward(SavedTensors& saved) const {
  for (std::size_t i = 0; i < kNumValues; ++i) {
    if (lifetime_of(static_cast<Value>(i)) == Lifetime::kBackwardInputToBackwardWeight &&
        value_ids_[i] >= 0) {
      (void)saved.save(value_ids_[i]);
    }
  }
}

Block::Places Block::recompute(PassContext& ctx,
                               const ParameterSet& parameters,
                               const void* x,
                               SavedTensors& saved) const {
  Places at;
  for (std::size_t i = 0; i < kNumValues; ++i) {
    if (value_ids_[i] >= 0) at.values[i] = saved.get(value_ids_[i]);
  }
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
  // Gradient of a norm's output [rows, C], or of attention_out [N, C / ranks].
  std::byte* dnorm = ctx.take(ctx.rows() * C_);

  std::byte* up_out = at.values[kUpOut];
  {
    const device::ArenaScope gelu_scope(ctx.workspace);
    std::byte* dgelu_out = ctx.take(ctx.N() * up_.out);
    linear_backward_input(ctx, parameters, down_, dgelu_out,
                          whole_gradient(ctx, kDyGathered, dy, saved));
    gelu_backward(ctx, parameters, up_, up_out, dgelu_out, up_out, fused_bias_gradient_);
  }
  linear_backward_input_of_columns(ctx, parameters, up_, dnorm, up_out);

  std::byte* x2 = at.values[kX2];
  norm_backward(ctx, parameters, norm2_, x2,
                {dnorm, x2, at.statistics[kMean2], at.statistics[kRstd2]}, dy);
  const void* dx2 = x2;

  {
    const device::ArenaScope gradient_scope(ctx.workspace);
    linear_backward_input(ctx, parameters, proj_, dnorm,
                          whole_gradient(ctx, kDx2Gathered, dx2, saved));
  }
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
  linear_backward_input_of_columns(ctx, parameters, qkv_, dnorm, qkv);
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
  const auto gradient = [&](Value kept, const void* part) {
    return keeps_gathered() ? value(kept) : gathered(ctx, part, C_);
  };
  const auto weight = [&](const Linear& linear, const void* x, const void* d) {
    linear_backward_weight(ctx, parameters, linear, x, d);
  };
  {
    const device::ArenaScope scope(ctx.workspace);
    weight(down_, value(kGeluOut), gradient(kDyGathered, dy));
  }
  {
    const device::ArenaScope scope(ctx.workspace);
    Linear up = up_;
    if (fused_bias_gradient_) up.bias_or_none = -1;
    weight(up, whole_norm(ctx, value(kNorm2Out)), value(kUpOut));
  }
  {
    const device::ArenaScope scope(ctx.workspace);
    weight(proj_, value(kAttentionOut), gradient(kDx2Gathered, value(kX2)));
  }
  {
    const device::ArenaScope scope(ctx.workspace);
    weight(qkv_, whole_norm(ctx, value(kNorm1Out)), value(kQkv));
  }
  for (const int id : value_ids_) {
    if (id >= 0) saved.release(id);
  }
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
