// SPDX-License-Identifier: Apache-2.0
// The matrix products of linear layers and of the head, and the gradient of a bias. Flags and fused
// operands are those of engine/model/layer.cpp and head.cpp.
#pragma once

#include <cstdint>
#include <string>

#include "tools/ops_bench/model_shape.h"
#include "tools/ops_bench/op_case.h"

namespace halfpipe::ops_bench {

/// y = x W + b + residual, a layer of a block, or gelu(x W + b); W [in, out], x [N, in].
struct LinearShape {
  std::string name;
  std::int64_t N;
  std::int64_t in;
  std::int64_t out;
  bool bias;
  bool residual;
  DType dtype;
  bool gelu = false;  // within the product
};

[[nodiscard]] OpCase linear_forward(const LinearShape& linear);
[[nodiscard]] OpCase linear_backward_input(const LinearShape& linear);
/// Accumulates.
[[nodiscard]] OpCase linear_backward_weight(const LinearShape& linear);
/// Accumulates the gradient of the bias.
[[nodiscard]] OpCase linear_column_sum(const LinearShape& linear);

/// logits = x W^T, W [V, C].
[[nodiscard]] OpCase head_forward(const ModelShape& model);
[[nodiscard]] OpCase head_backward_input(const ModelShape& model);
/// Accumulates.
[[nodiscard]] OpCase head_backward_weight(const ModelShape& model);

}  // namespace halfpipe::ops_bench
