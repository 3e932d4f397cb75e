// SPDX-License-Identifier: Apache-2.0
#include "tools/ops_bench/layer_cases.h"

namespace halfpipe::ops_bench {
namespace {

constexpr float kNormEpsilon = 1e-5F;  // GPT-2's

/// What both gradients of a norm read, after its forward pass.
struct NormGradientOperands {
  const void* dout;
  const void* x;
  const float* mean;
  const float* rstd;
  const void* weight;
};

ops::LayerNormForward norm_forward_args(Workbench& bench, const ModelShape& m) {
  return {.out = bench.zeros(m.N() * m.C, m.dtype),
          .mean = bench.zeros(m.N()),
          .rstd = bench.zeros(m.N()),
          .x = bench.values(m.N() * m.C, m.dtype),
          .weight = bench.values(m.C, m.dtype),
          .bias_or_null = m.bias ? bench.values(m.C, m.dtype) : nullptr,
          .N = m.N(),
          .C = m.C,
          .eps = kNormEpsilon,
          .dtype = m.dtype};
}

NormGradientOperands run_norm_forward(Workbench& bench, const ModelShape& m) {
  const ops::LayerNormForward forward = norm_forward_args(bench, m);
  bench.ops().layer_norm_forward(forward, bench.stream());
  return {bench.values(m.N() * m.C, m.dtype), forward.x, forward.mean, forward.rstd,
          forward.weight};
}

}  // namespace

OpCase embedding_forward(const ModelShape& m) {
  return {"embedding forward", "embedding_forward", shape_text({m.B, m.T, m.C}), Ceiling::kCopy,
          [m](Workbench& bench) {
            return bench.prepare(&ops::Ops::embedding_forward,
                                 {.out = bench.zeros(m.N() * m.C, m.dtype),
                                  .tokens = bench.tokens(m.N(), m.V),
                                  .token_table = bench.values(m.V * m.C, m.dtype),
                                  .position_table = bench.values(m.T * m.C, m.dtype),
                                  .B = m.B,
                                  .T = m.T,
                                  .C = m.C,
                                  .first_position = 0,
                                  .dtype = m.dtype});
          }};
}

OpCase embedding_backward_weight(const ModelShape& m) {
  return {"embedding backward_weight", "embedding_backward_weight", shape_text({m.B, m.T, m.C}),
          Ceiling::kCopy, [m](Workbench& bench) {
            return bench.prepare(&ops::Ops::embedding_backward_weight,
                                 {.dtoken_table = bench.zeros(m.V * m.C),
                                  .dposition_table = bench.zeros(m.T * m.C),
                                  .dout = bench.values(m.N() * m.C, m.dtype),
                                  .tokens = bench.tokens(m.N(), m.V),
                                  .B = m.B,
                                  .T = m.T,
                                  .C = m.C,
                                  .dtype = m.dtype});
          }};
}

OpCase layer_norm_forward(const ModelShape& m) {
  return {"layer_norm forward", "layer_norm_forward", shape_text({m.N(), m.C}), Ceiling::kCopy,
          [m](Workbench& bench) {
            return bench.prepare(&ops::Ops::layer_norm_forward, norm_forward_args(bench, m));
          }};
}

OpCase layer_norm_backward_input(const ModelShape& m) {
  return {"layer_norm backward_input", "layer_norm_backward_input", shape_text({m.N(), m.C}),
          Ceiling::kCopy, [m](Workbench& bench) {
            const NormGradientOperands norm = run_norm_forward(bench, m);
            return bench.prepare(&ops::Ops::layer_norm_backward_input,
                                 {.dx = bench.zeros(m.N() * m.C, m.dtype),
                                  .dout = norm.dout,
                                  .x = norm.x,
                                  .mean = norm.mean,
                                  .rstd = norm.rstd,
                                  .weight = norm.weight,
                                  .residual_or_null = bench.values(m.N() * m.C, m.dtype),
                                  .N = m.N(),
                                  .C = m.C,
                                  .dtype = m.dtype});
          }};
}

OpCase layer_norm_backward_weight(const ModelShape& m) {
  return {"layer_norm backward_weight", "layer_norm_backward_weight", shape_text({m.N(), m.C}),
          Ceiling::kCopy, [m](Workbench& bench) {
            const NormGradientOperands norm = run_norm_forward(bench, m);
            ops::LayerNormBackwardWeight args{.dweight = bench.zeros(m.C),
                                              .dbias_or_null = m.bias ? bench.zeros(m.C) : nullptr,
                                              .dout = norm.dout,
                                              .x = norm.x,
                                              .mean = norm.mean,
                                              .rstd = norm.rstd,
                                              .N = m.N(),
                                              .C = m.C,
                                              .scratch = nullptr,
                                              .dtype = m.dtype};
            args.scratch =
                bench.scratch(bench.ops().layer_norm_backward_weight_scratch_bytes(args));
            return bench.prepare(&ops::Ops::layer_norm_backward_weight, args);
          }};
}

OpCase gelu_forward(const ModelShape& m) {
  const std::int64_t count = m.N() * m.F;
  return {"gelu forward", "gelu_forward", shape_text({m.N(), m.F}), Ceiling::kCopy,
          [m, count](Workbench& bench) {
            return bench.prepare(&ops::Ops::gelu_forward, {.out = bench.zeros(count, m.dtype),
                                                           .x = bench.values(count, m.dtype),
                                                           .count = count,
                                                           .dtype = m.dtype});
          }};
}

OpCase gelu_backward_input(const ModelShape& m) {
  const std::int64_t count = m.N() * m.F;
  return {m.fused_bias_gradient ? "gelu backward_input, bias" : "gelu backward_input",
          "gelu_backward_input", shape_text({m.N(), m.F}), Ceiling::kCopy,
          [m, count](Workbench& bench) {
            ops::GeluBackwardInput args{.dx = bench.zeros(count, m.dtype),
                                        .dout = bench.values(count, m.dtype),
                                        .x = bench.values(count, m.dtype),
                                        .count = count,
                                        .dtype = m.dtype};
            if (m.fused_bias_gradient) {
              args.dbias_or_null = bench.zeros(m.F);
              args.C = m.F;
              args.scratch =
                  bench.scratch(bench.ops().column_sum_scratch_bytes(ops::column_sum_of(args)));
            }
            return bench.prepare(&ops::Ops::gelu_backward_input, args);
          }};
}

OpCase cross_entropy(const ModelShape& m) {
  return {"cross_entropy", "cross_entropy", shape_text({m.N(), m.V}), Ceiling::kCopy,
          [m](Workbench& bench) {
            ops::CrossEntropy args{.losses = bench.zeros(m.N()),
                                   .logits = bench.values(m.N() * m.V, m.dtype),
                                   .targets = bench.tokens(m.N(), m.V),
                                   .N = m.N(),
                                   .V = m.V,
                                   .scale = 1.0F / static_cast<float>(m.N()),
                                   .dtype = m.dtype};
            args.scratch = bench.scratch(bench.ops().cross_entropy_scratch_bytes(args));
            return bench.prepare(&ops::Ops::cross_entropy, args);
          }};
}

}  // namespace halfpipe::ops_bench
