// SPDX-License-Identifier: Apache-2.0
#include "tools/ops_bench/step_cases.h"

#include <algorithm>
#include <iterator>

#include "tools/ops_bench/attention_cases.h"
#include "tools/ops_bench/layer_cases.h"
#include "tools/ops_bench/linear_cases.h"
#include "tools/ops_bench/tensor_cases.h"
#include "tools/ops_bench/update_cases.h"

namespace halfpipe::ops_bench {
namespace {

struct BlockLinears {
  LinearShape qkv;
  LinearShape proj;
  LinearShape up;
  LinearShape down;
};

BlockLinears linears_of(const ModelShape& m) {
  const std::int64_t N = m.N();
  return {{"c_attn", N, m.C, 3 * m.C, m.bias, /*residual=*/false, m.dtype},
          {"attn.c_proj", N, m.C, m.C, m.bias, /*residual=*/true, m.dtype},
          {"c_fc", N, m.C, m.F, m.bias, /*residual=*/false, m.dtype, m.fused_gelu},
          {"mlp.c_proj", N, m.F, m.C, m.bias, /*residual=*/true, m.dtype}};
}

std::vector<OpCase> forward_cases(const ModelShape& model, const BlockLinears& linears) {
  std::vector<OpCase> cases = {embedding_forward(model),     layer_norm_forward(model),
                               linear_forward(linears.qkv),  attention_forward(model),
                               linear_forward(linears.proj), linear_forward(linears.up)};
  if (!model.fused_gelu) cases.push_back(gelu_forward(model));
  cases.push_back(linear_forward(linears.down));
  cases.push_back(head_forward(model));
  cases.push_back(cross_entropy(model));
  return cases;
}

std::vector<OpCase> backward_input_cases(const ModelShape& model, const BlockLinears& linears) {
  return {head_backward_weight(model),         head_backward_input(model),
          linear_backward_input(linears.down), gelu_backward_input(model),
          linear_backward_input(linears.up),   layer_norm_backward_weight(model),
          layer_norm_backward_input(model),    linear_backward_input(linears.proj),
          attention_backward_input(model),     linear_backward_input(linears.qkv),
          embedding_backward_weight(model)};
}

}  // namespace

std::vector<OpCase> step_cases(const ModelShape& model) {
  const BlockLinears linears = linears_of(model);
  std::vector<OpCase> cases = forward_cases(model, linears);
  std::ranges::move(backward_input_cases(model, linears), std::back_inserter(cases));
  for (const LinearShape& linear : {linears.down, linears.up, linears.proj, linears.qkv}) {
    cases.push_back(linear_backward_weight(linear));
    const bool summed = model.fused_bias_gradient && linear.name == linears.up.name;
    if (linear.bias && !summed) cases.push_back(linear_column_sum(linear));
  }
  if (model.tied) cases.push_back(accumulate(model));
  cases.push_back(sum_of_squares(model));
  cases.push_back(adamw(model));
  cases.push_back(attention_decode(model));
  for (OpCase (*of_tensor_rank)(const ModelShape&) :
       {embedding_forward_of_slice, sum_parts_forward, cross_entropy_statistics,
        cross_entropy_of_slice, sum_parts_backward_input, embedding_backward_weight_of_slice}) {
    cases.push_back(of_tensor_rank(model));
  }
  return cases;
}

}  // namespace halfpipe::ops_bench
