// SPDX-License-Identifier: Apache-2.0
// Naive float64 references of the row-wise and element-wise ops: the formulas of kernels/ops as
// written, one element after the other.
#pragma once

#include <cstdint>
#include <vector>

namespace halfpipe::reference {

using Values = std::vector<double>;
using Indices = std::vector<std::int32_t>;

struct LayerNormResult {
  Values out;   // [N, C]
  Values mean;  // [N]
  Values rstd;  // [N]
};
/// bias may be empty.
LayerNormResult layer_norm(const Values& x,
                           const Values& weight,
                           const Values& bias,
                           std::int64_t N,
                           std::int64_t C,
                           double eps);

struct LayerNormGradients {
  Values dx;       // [N, C]  without a residual
  Values dweight;  // [C]
  Values dbias;    // [C]
};
LayerNormGradients layer_norm_backward(const Values& dout,
                                       const Values& x,
                                       const Values& weight,
                                       std::int64_t N,
                                       std::int64_t C,
                                       double eps);

Values gelu(const Values& x);
Values gelu_backward(const Values& dout, const Values& x);

struct EmbeddingDims {
  std::int64_t B;
  std::int64_t T;
  std::int64_t C;
  std::int64_t first_position = 0;
  std::int64_t first_id = 0;  // of the table
};
/// Tokens whose ids the token table does not have add nothing; position_table may be empty.
Values embedding(const Indices& tokens,
                 const Values& token_table,
                 const Values& position_table,
                 const EmbeddingDims& dims);

struct EmbeddingGradients {
  Values dtoken_table;     // [num_ids, C]
  Values dposition_table;  // [T_max, C]
};
EmbeddingGradients embedding_backward(const Values& dout,
                                      const Indices& tokens,
                                      std::int64_t num_ids,
                                      std::int64_t T_max,
                                      const EmbeddingDims& dims);

/// One loss per row.
Values cross_entropy(const Values& logits, const Indices& targets, std::int64_t V);
/// The gradient of sum_n scale * losses[n].
Values cross_entropy_backward(const Values& logits,
                              const Indices& targets,
                              std::int64_t V,
                              double scale);

/// {largest, sum without the target, the target's logit} per row of logits, [N, V], of which column
/// v is of id first_id + v.
Values cross_entropy_statistics(const Values& logits,
                                const Indices& targets,
                                std::int64_t V,
                                std::int64_t first_id);

struct AdamWState {
  Values param;
  Values m;
  Values v;
};
struct AdamWHyperparameters {
  double learning_rate;
  double beta1;
  double beta2;
  double epsilon;
  double weight_decay;
  double grad_scale;
};
/// Step number `step`, counted from 1.
void adamw(AdamWState& state, const Values& grad, const AdamWHyperparameters& h, int step);

double sum_of_squares(const Values& x);
/// [N, C] -> [C]
Values column_sum(const Values& x, std::int64_t C);
/// bias, [C], and residual may be empty.
Values sum_parts(const std::vector<Values>& parts, const Values& bias, const Values& residual);

}  // namespace halfpipe::reference
