// SPDX-License-Identifier: Apache-2.0
// Attention: of a micro-batch in training, and of one new token in generation.
#pragma once

#include "tools/ops_bench/model_shape.h"
#include "tools/ops_bench/op_case.h"

namespace halfpipe::ops_bench {

[[nodiscard]] OpCase attention_forward(const ModelShape& model);
/// Output and log-sum-exp are those of the forward pass: with random ones the exponentials would
/// overflow.
[[nodiscard]] OpCase attention_backward_input(const ModelShape& model);
/// One sequence, as `halfpipe generate` has, at the last position of its context.
[[nodiscard]] OpCase attention_decode(const ModelShape& model);

}  // namespace halfpipe::ops_bench
