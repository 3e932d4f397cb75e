// SPDX-License-Identifier: Apache-2.0
#include "engine/model/layer.h"

namespace halfpipe::model {

namespace {

const void* operand_or_null(const ParameterSet& parameters, int index) {
  return index < 0 ? nullptr : parameters[index].operand();
}

float* gradient_or_null(const ParameterSet& parameters, int index) {
  return index < 0 ? nullptr : parameters[index].gradient;
}

void run_column_sum(PassContext& ctx, ops::ColumnSum args) {
  const device::ArenaScope scope(ctx.workspace);
  args.scratch = scratch_or_null(ctx, ctx.ops.column_sum_scratch_bytes(args));
  if (!ctx.counting()) ctx.ops.column_sum(args, ctx.stream);
}

void run_norm_backward_weight(PassContext& ctx, ops::LayerNormBackwardWeight args) {
  const device::ArenaScope scope(ctx.workspace);
  args.scratch = scratch_or_null(ctx, ctx.ops.layer_norm_backward_weight_scratch_bytes(args));
  if (!ctx.counting()) ctx.ops.layer_norm_backward_weight(args, ctx.stream);
}

int add_bias(const TransformerConfig& config,
             const std::vector<ParameterSpec>& model,
             const std::string& name,
             ParameterSet& parameters,
             Sharing sharing) {
  return config.bias ? parameters.add(model, name + ".bias", sharing) : -1;
}

/// y = x W + b
ops::Matmul forward_product(const PassContext& ctx,
                            const ParameterSet& parameters,
                            const Linear& linear,
                            void* y,
                            const void* x) {
  return {.c = y,
          .a = x,
          .b = parameters[linear.weight].operand(),
          .bias_or_null = operand_or_null(parameters, linear.bias_or_none),
          .residual_or_null = nullptr,
          .M = ctx.N(),
          .N = linear.out,
          .K = linear.in,
          .transpose_a = false,
          .transpose_b = false,
          .accumulate = false,
          .scratch = nullptr,
          .dtype = ctx.dtype};
}

}  // namespace

void* scratch_or_null(PassContext& ctx, std::size_t bytes) {
  return bytes == 0 ? nullptr : ctx.workspace.take_bytes(bytes);
}

Linear make_linear(const TransformerConfig& config,
                   const std::vector<ParameterSpec>& model,
                   const std::string& name,
                   std::int64_t in,
                   std::int64_t out,
                   ParameterSet& parameters,
                   Sharing sharing) {
  const int ranks = parameters.shard().ranks;
  const bool by_rows = sharing == Sharing::kRows;
  const bool by_columns = sharing == Sharing::kColumns || sharing == Sharing::kColumnsOfThree;
  const int weight = parameters.add(model, name + ".weight", sharing);
  const int bias =
      add_bias(config, model, name, parameters, by_columns ? sharing : Sharing::kWhole);
  return {weight, bias, by_rows ? in / ranks : in, by_columns ? out / ranks : out};
}

Norm make_norm(const TransformerConfig& config,
               const std::vector<ParameterSpec>& model,
               const std::string& name,
               ParameterSet& parameters) {
  // Each rank normalises its own tokens.
  const int weight = parameters.add(model, name + ".weight", Sharing::kWholeBySums);
  return {weight, add_bias(config, model, name, parameters, Sharing::kWholeBySums),
          config.hidden_size};
}

void run_matmul(PassContext& ctx, ops::Matmul args) {
  const device::ArenaScope scope(ctx.workspace);
  args.scratch = scratch_or_null(ctx, ctx.ops.matmul_scratch_bytes(args));
  if (!ctx.counting()) ctx.ops.matmul(args, ctx.stream);
}

void linear_forward(PassContext& ctx,
                    const ParameterSet& parameters,
                    const Linear& linear,
                    void* y,
                    const void* x,
                    const void* residual_or_null) {
  ops::Matmul args = forward_product(ctx, parameters, linear, y, x);
  args.residual_or_null = residual_or_null;
  run_matmul(ctx, args);
}

void linear_gelu_forward(PassContext& ctx,
                         const ParameterSet& parameters,
                         const Linear& linear,
                         void* y,
                         void* pre_activation,
                         const void* x) {
  ops::Matmul args = forward_product(ctx, parameters, linear, y, x);
  args.pre_activation_or_null = pre_activation;
  run_matmul(ctx, args);
}

void linear_backward_input(PassContext& ctx,
                           const ParameterSet& parameters,
                           const Linear& linear,
                           void* dx,
                           const void* dy) {
  run_matmul(ctx, {.c = dx,
                   .a = dy,
                   .b = parameters[linear.weight].operand(),
                   .bias_or_null = nullptr,
                   .residual_or_null = nullptr,
                   .M = ctx.N(),
                   .N = linear.in,
                   .K = linear.out,
                   .transpose_a = false,
                   .transpose_b = true,
                   .accumulate = false,
                   .scratch = nullptr,
                   .dtype = ctx.dtype});
}

void linear_backward_weight(PassContext& ctx,
                            const ParameterSet& parameters,
                            const Linear& linear,
                            const void* x,
                            const void* dy) {
  run_matmul(ctx, {.c = parameters[linear.weight].gradient,
                   .a = x,
                   .b = dy,
                   .bias_or_null = nullptr,
                   .residual_or_null = nullptr,
                   .M = linear.in,
                   .N = linear.out,
                   .K = ctx.N(),
                   .transpose_a = true,
                   .transpose_b = false,
                   .accumulate = true,
                   .scratch = nullptr,
                   .dtype = ctx.dtype});
  if (linear.bias_or_none < 0) return;
  run_column_sum(ctx, {.dst = parameters[linear.bias_or_none].gradient,
                       .x = dy,
                       .N = ctx.N(),
                       .C = linear.out,
                       .scratch = nullptr,
                       .dtype = ctx.dtype});
}

void gelu_backward(PassContext& ctx,
                   const ParameterSet& parameters,
                   const Linear& linear,
                   void* dpre,
                   const void* dout,
                   const void* pre_activation,
                   bool bias) {
  ops::GeluBackwardInput args{.dx = dpre,
                              .dout = dout,
                              .x = pre_activation,
                              .count = ctx.N() * linear.out,
                              .dtype = ctx.dtype};
  const device::ArenaScope scope(ctx.workspace);
  if (bias) {
    args.dbias_or_null = gradient_or_null(parameters, linear.bias_or_none);
    args.C = linear.out;
    args.scratch = scratch_or_null(ctx, ctx.ops.column_sum_scratch_bytes(ops::column_sum_of(args)));
  }
  if (!ctx.counting()) ctx.ops.gelu_backward_input(args, ctx.stream);
}

void norm_forward(PassContext& ctx,
                  const ParameterSet& parameters,
                  const Norm& norm,
                  void* out,
                  float* mean,
                  float* rstd,
                  const void* x) {
  if (ctx.counting()) return;
  ctx.ops.layer_norm_forward({.out = out,
                              .mean = mean,
                              .rstd = rstd,
                              .x = x,
                              .weight = parameters[norm.weight].operand(),
                              .bias_or_null = operand_or_null(parameters, norm.bias_or_none),
                              .N = ctx.rows(),
                              .C = norm.C,
                              .eps = TransformerConfig::kNormEpsilon,
                              .dtype = ctx.dtype},
                             ctx.stream);
}

void norm_backward(PassContext& ctx,
                   const ParameterSet& parameters,
                   const Norm& norm,
                   void* dx,
                   const NormGradientInputs& inputs,
                   const void* residual_or_null) {
  run_norm_backward_weight(ctx, {.dweight = parameters[norm.weight].gradient,
                                 .dbias_or_null = gradient_or_null(parameters, norm.bias_or_none),
                                 .dout = inputs.dout,
                                 .x = inputs.x,
                                 .mean = inputs.mean,
                                 .rstd = inputs.rstd,
                                 .N = ctx.rows(),
                                 .C = norm.C,
                                 .scratch = nullptr,
                                 .dtype = ctx.dtype});
  if (ctx.counting()) return;
  ctx.ops.layer_norm_backward_input({.dx = dx,
                                     .dout = inputs.dout,
                                     .x = inputs.x,
                                     .mean = inputs.mean,
                                     .rstd = inputs.rstd,
                                     .weight = parameters[norm.weight].operand(),
                                     .residual_or_null = residual_or_null,
                                     .N = ctx.rows(),
                                     .C = norm.C,
                                     .dtype = ctx.dtype},
                                    ctx.stream);
}

}  // namespace halfpipe::model
