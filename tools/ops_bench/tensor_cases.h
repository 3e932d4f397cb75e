// SPDX-License-Identifier: Apache-2.0
// Operations that tensor ranks run and others do not, as the first of them has them.
#pragma once

#include "tools/ops_bench/model_shape.h"
#include "tools/ops_bench/op_case.h"

namespace halfpipe::ops_bench {

/// Look-ups in a slice of the vocabulary, of tokens of the whole: bytes are counted as if every
/// token had its row there.
[[nodiscard]] OpCase embedding_forward_of_slice(const ModelShape& model);
[[nodiscard]] OpCase embedding_backward_weight_of_slice(const ModelShape& model);

/// What follows a layer whose inputs are cut: its bias and the residual are added, too.
[[nodiscard]] OpCase sum_parts_forward(const ModelShape& model);
/// The gradient of the input of a layer whose outputs are cut.
[[nodiscard]] OpCase sum_parts_backward_input(const ModelShape& model);

[[nodiscard]] OpCase cross_entropy_statistics(const ModelShape& model);
/// Gradient included; every rank's statistics are those of the same logits.
[[nodiscard]] OpCase cross_entropy_of_slice(const ModelShape& model);

}  // namespace halfpipe::ops_bench
