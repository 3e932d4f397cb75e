// SPDX-License-Identifier: Apache-2.0
// Embeddings, norms, activations and the loss. The means and deviations that a norm's gradients
// read are those of its forward pass.
#pragma once

#include "tools/ops_bench/model_shape.h"
#include "tools/ops_bench/op_case.h"

namespace halfpipe::ops_bench {

[[nodiscard]] OpCase embedding_forward(const ModelShape& model);
[[nodiscard]] OpCase embedding_backward_weight(const ModelShape& model);

[[nodiscard]] OpCase layer_norm_forward(const ModelShape& model);
/// With the residual that every norm of a block has.
[[nodiscard]] OpCase layer_norm_backward_input(const ModelShape& model);
[[nodiscard]] OpCase layer_norm_backward_weight(const ModelShape& model);

[[nodiscard]] OpCase gelu_forward(const ModelShape& model);
[[nodiscard]] OpCase gelu_backward_input(const ModelShape& model);

/// Gradient included.
[[nodiscard]] OpCase cross_entropy(const ModelShape& model);

}  // namespace halfpipe::ops_bench
