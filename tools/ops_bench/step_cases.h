// SPDX-License-Identifier: Apache-2.0
// Which operations are measured, in the order in which a training step meets them.
#pragma once

#include <vector>

#include "tools/ops_bench/model_shape.h"
#include "tools/ops_bench/op_case.h"

namespace halfpipe::ops_bench {

/// Embedding, one block and the head: forward, backward_input, backward_weight; the end of the
/// optimizer step; attention of one new token in generation; last, what only tensor ranks run.
/// Operations of equal shape are there once (the norms), and what the model does not run is not
/// there: column sums without biases, the sum of the two gradients of an embedding that is not
/// tied.
[[nodiscard]] std::vector<OpCase> step_cases(const ModelShape& model);

}  // namespace halfpipe::ops_bench
