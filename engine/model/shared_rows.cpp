// SPDX-License-Identifier: Apache-2.0
#include "engine/model/shared_rows.h"

#include <cstddef>

namespace halfpipe::model {
namespace {

std::size_t part_bytes(const PassContext& ctx, std::int64_t C) {
  return static_cast<std::size_t>(ctx.rows() * C) * size_of(ctx.dtype);
}

}  // namespace

std::byte* own_rows(const PassContext& ctx, void* whole, std::int64_t C) {
  if (whole == nullptr) return nullptr;
  return static_cast<std::byte*>(whole) +
         static_cast<std::size_t>(ctx.shard.rank) * part_bytes(ctx, C);
}

void gather_rows(PassContext& ctx, void* whole, const void* part, std::int64_t C) {
  if (!ctx.shard.is_shared() || ctx.counting()) return;
  ctx.tensor().all_gather(static_cast<std::byte*>(whole), static_cast<const std::byte*>(part),
                          part_bytes(ctx, C), ctx.stream);
}

const void* gathered(PassContext& ctx, const void* part, std::int64_t C) {
  if (!ctx.shard.is_shared()) return part;
  std::byte* whole = ctx.take(ctx.N() * C);
  gather_rows(ctx, whole, part, C);
  return whole;
}

void scatter_sum(PassContext& ctx, const ScatteredSum& sum) {
  const device::ArenaScope scope(ctx.workspace);
  std::byte* received = ctx.take(ctx.N() * sum.C);
  if (ctx.counting()) return;
  const auto* terms = static_cast<const std::byte*>(sum.terms);
  ctx.tensor().exchange(received, terms, part_bytes(ctx, sum.C), ctx.stream);
  ctx.ops.sum_parts(
      {.out = sum.out,
       .parts = received,
       .own = terms + static_cast<std::size_t>(ctx.shard.rank) * part_bytes(ctx, sum.C),
       .num_parts = ctx.shard.ranks,
       .own_index = ctx.shard.rank,
       .bias_or_null = sum.bias_or_null,
       .residual_or_null = sum.residual_or_null,
       .N = ctx.rows(),
       .C = sum.C,
       .dtype = ctx.dtype},
      ctx.stream);
}

void linear_forward_of_rows(PassContext& ctx,
                            const ParameterSet& parameters,
                            const Linear& linear,
                            void* y,
                            const void* x,
                            const void* residual_or_null) {
  if (!ctx.shard.is_shared()) {
    linear_forward(ctx, parameters, linear, y, x, residual_or_null);
    return;
  }
  const device::ArenaScope scope(ctx.workspace);
  std::byte* terms = ctx.take(ctx.N() * linear.out);
  linear_forward(ctx, parameters, {.weight = linear.weight, .in = linear.in, .out = linear.out},
                 terms, x, nullptr);
  scatter_sum(ctx,
              {.out = y,
               .terms = terms,
               .bias_or_null =
                   linear.bias_or_none < 0 ? nullptr : parameters[linear.bias_or_none].operand(),
               .residual_or_null = residual_or_null,
               .C = linear.out});
}

void linear_backward_input_of_columns(PassContext& ctx,
                                      const ParameterSet& parameters,
                                      const Linear& linear,
                                      void* dx,
                                      const void* dy) {
  if (!ctx.shard.is_shared()) {
    linear_backward_input(ctx, parameters, linear, dx, dy);
    return;
  }
  const device::ArenaScope scope(ctx.workspace);
  std::byte* terms = ctx.take(ctx.N() * linear.in);
  linear_backward_input(ctx, parameters, linear, terms, dy);
  scatter_sum(ctx, {.out = dx,
                    .terms = terms,
                    .bias_or_null = nullptr,
                    .residual_or_null = nullptr,
                    .C = linear.in});
}

}  // namespace halfpipe::model
