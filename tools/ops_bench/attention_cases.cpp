// SPDX-License-Identifier: Apache-2.0
#include "tools/ops_bench/attention_cases.h"

namespace halfpipe::ops_bench {
namespace {

ops::AttentionDims dims_of(const ModelShape& m) {
  return {.B = m.B, .T = m.T, .NH = m.NH, .HS = m.HS()};
}

std::string shape_of(const ModelShape& m) {
  return shape_text({m.B, m.T, m.NH, m.HS()});
}

ops::AttentionForward forward_args(Workbench& bench, const ModelShape& m) {
  const ops::AttentionDims dims = dims_of(m);
  return {.out = bench.zeros(m.N() * m.C, m.dtype),
          .lse = bench.zeros(m.N() * m.NH),
          .qkv = bench.values(3 * m.N() * m.C, m.dtype),
          .dims = dims,
          .scratch = bench.scratch(bench.ops().attention_forward_scratch_bytes(dims, m.dtype)),
          .dtype = m.dtype};
}

}  // namespace

OpCase attention_forward(const ModelShape& m) {
  return {"attention forward", "attention_forward", shape_of(m), Ceiling::kProduct,
          [m](Workbench& bench) {
            return bench.prepare(&ops::Ops::attention_forward, forward_args(bench, m));
          }};
}

OpCase attention_backward_input(const ModelShape& m) {
  return {"attention backward_input", "attention_backward_input", shape_of(m), Ceiling::kProduct,
          [m](Workbench& bench) {
            const ops::AttentionForward forward = forward_args(bench, m);
            bench.ops().attention_forward(forward, bench.stream());
            const std::size_t scratch =
                bench.ops().attention_backward_scratch_bytes(forward.dims, m.dtype);
            return bench.prepare(&ops::Ops::attention_backward_input,
                                 {.dqkv = bench.zeros(3 * m.N() * m.C, m.dtype),
                                  .dout = bench.values(m.N() * m.C, m.dtype),
                                  .qkv = forward.qkv,
                                  .out = forward.out,
                                  .lse = forward.lse,
                                  .dims = forward.dims,
                                  .scratch = bench.scratch(scratch),
                                  .dtype = m.dtype});
          }};
}

OpCase attention_decode(const ModelShape& m) {
  return {"attention decode", "attention_decode", shape_text({1, m.T, m.NH, m.HS()}),
          Ceiling::kCopy, [m](Workbench& bench) {
            return bench.prepare(&ops::Ops::attention_decode, {.out = bench.zeros(m.C),
                                                               .q = bench.values(3 * m.C),
                                                               .q_stride = 3 * m.C,
                                                               .k = bench.values(m.T * m.C),
                                                               .v = bench.values(m.T * m.C),
                                                               .B = 1,
                                                               .T_max = m.T,
                                                               .NH = m.NH,
                                                               .HS = m.HS(),
                                                               .position = m.T - 1});
          }};
}

}  // namespace halfpipe::ops_bench
