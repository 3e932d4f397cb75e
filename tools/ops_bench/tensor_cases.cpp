// SPDX-License-Identifier: Apache-2.0
#include "tools/ops_bench/tensor_cases.h"

#include <algorithm>
#include <string>
#include <utility>

namespace halfpipe::ops_bench {
namespace {

constexpr std::int64_t kStatistics = 3;  // of a token, in ops::CrossEntropyStatistics

std::int64_t ids_of_slice(const ModelShape& m, std::int64_t rank) {
  return std::clamp<std::int64_t>(m.V - rank * m.slice_rows, 0, m.slice_rows);
}

struct SumOperands {
  bool bias;
  bool residual;
};

OpCase sum_parts(std::string name, const ModelShape& m, const SumOperands& operands) {
  return {std::move(name), "sum_parts", shape_text({m.num_tensor_ranks, m.rows(), m.C}),
          Ceiling::kCopy, [m, operands](Workbench& bench) {
            const std::int64_t count = m.rows() * m.C;
            return bench.prepare(
                &ops::Ops::sum_parts,
                {.out = bench.zeros(count, m.dtype),
                 .parts = bench.values(m.num_tensor_ranks * count, m.dtype),
                 .own = bench.values(count, m.dtype),
                 .num_parts = m.num_tensor_ranks,
                 .own_index = 0,
                 .bias_or_null = operands.bias ? bench.values(m.C, m.dtype) : nullptr,
                 .residual_or_null = operands.residual ? bench.values(count, m.dtype) : nullptr,
                 .N = m.rows(),
                 .C = m.C,
                 .dtype = m.dtype});
          }};
}

}  // namespace

OpCase embedding_forward_of_slice(const ModelShape& m) {
  return {"embedding forward, slice", "embedding_forward", shape_text({m.B, m.T, m.C}),
          Ceiling::kCopy, [m](Workbench& bench) {
            return bench.prepare(&ops::Ops::embedding_forward,
                                 {.out = bench.zeros(m.N() * m.C, m.dtype),
                                  .tokens = bench.tokens(m.N(), m.V),
                                  .token_table = bench.values(m.slice_rows * m.C, m.dtype),
                                  .position_table = bench.values(m.T * m.C, m.dtype),
                                  .B = m.B,
                                  .T = m.T,
                                  .C = m.C,
                                  .first_position = 0,
                                  .dtype = m.dtype,
                                  .ids = {.begin = 0, .end = m.slice_rows}});
          }};
}

OpCase embedding_backward_weight_of_slice(const ModelShape& m) {
  return {"embedding backward_weight, slice", "embedding_backward_weight",
          shape_text({m.B, m.T, m.C}), Ceiling::kCopy, [m](Workbench& bench) {
            return bench.prepare(&ops::Ops::embedding_backward_weight,
                                 {.dtoken_table = bench.zeros(m.slice_rows * m.C),
                                  .dposition_table = bench.zeros(m.T * m.C),
                                  .dout = bench.values(m.N() * m.C, m.dtype),
                                  .tokens = bench.tokens(m.N(), m.V),
                                  .B = m.B,
                                  .T = m.T,
                                  .C = m.C,
                                  .dtype = m.dtype,
                                  .ids = {.begin = 0, .end = m.slice_rows}});
          }};
}

OpCase sum_parts_forward(const ModelShape& m) {
  return sum_parts("sum_parts forward", m, {.bias = m.bias, .residual = true});
}

OpCase sum_parts_backward_input(const ModelShape& m) {
  return sum_parts("sum_parts backward_input", m, {.bias = false, .residual = false});
}

OpCase cross_entropy_statistics(const ModelShape& m) {
  return {"cross_entropy_statistics", "cross_entropy_statistics", shape_text({m.N(), m.slice_rows}),
          Ceiling::kCopy, [m](Workbench& bench) {
            return bench.prepare(&ops::Ops::cross_entropy_statistics,
                                 {.statistics = bench.zeros(m.N() * kStatistics),
                                  .logits = bench.values(m.N() * m.slice_rows, m.dtype),
                                  .targets = bench.tokens(m.N(), m.V),
                                  .N = m.N(),
                                  .V = ids_of_slice(m, 0),
                                  .stride = m.slice_rows,
                                  .first_id = 0,
                                  .dtype = m.dtype});
          }};
}

OpCase cross_entropy_of_slice(const ModelShape& m) {
  return {"cross_entropy_of_slice", "cross_entropy_of_slice", shape_text({m.N(), m.slice_rows}),
          Ceiling::kCopy, [m](Workbench& bench) {
            const std::int64_t count = m.N() * kStatistics;
            float* const statistics = bench.zeros(m.num_tensor_ranks * count);
            void* const logits = bench.values(m.N() * m.slice_rows, m.dtype);
            const std::int32_t* const targets = bench.tokens(m.N(), m.V);
            for (std::int64_t rank = 0; rank < m.num_tensor_ranks; ++rank) {
              bench.ops().cross_entropy_statistics({.statistics = statistics + rank * count,
                                                    .logits = logits,
                                                    .targets = targets,
                                                    .N = m.N(),
                                                    .V = ids_of_slice(m, rank),
                                                    .stride = m.slice_rows,
                                                    .first_id = rank * m.slice_rows,
                                                    .dtype = m.dtype},
                                                   bench.stream());
            }
            return bench.prepare(&ops::Ops::cross_entropy_of_slice,
                                 {.losses = bench.zeros(m.N()),
                                  .logits = logits,
                                  .targets = targets,
                                  .statistics = statistics,
                                  .num_slices = m.num_tensor_ranks,
                                  .N = m.N(),
                                  .V = ids_of_slice(m, 0),
                                  .stride = m.slice_rows,
                                  .first_id = 0,
                                  .scale = 1.0F / static_cast<float>(m.N()),
                                  .dtype = m.dtype});
          }};
}

}  // namespace halfpipe::ops_bench
