// SPDX-License-Identifier: Apache-2.0
// Attention of bfloat16 by products of pairs (bfloat16_pairs.h), with float32 sums. As attention.h,
// but: dtype is bfloat16 and HS is even; probabilities and the gradients of scores are rounded to
// bfloat16 before they are multiplied, as on a GPU; lse is as in float32.
#pragma once

#include <cstddef>

#include "kernels/cpu/thread_pool.h"
#include "kernels/ops/attention.h"

namespace halfpipe::cpu {

void attention_forward_pairs(const ops::AttentionForward& args, ThreadPool& pool);
[[nodiscard]] std::size_t attention_forward_pairs_scratch_bytes(const ops::AttentionDims& dims,
                                                                DType dtype,
                                                                const ThreadPool& pool);
void attention_backward_input_pairs(const ops::AttentionBackwardInput& args, ThreadPool& pool);
[[nodiscard]] std::size_t attention_backward_pairs_scratch_bytes(const ops::AttentionDims& dims,
                                                                 DType dtype,
                                                                 const ThreadPool& pool);

}  // namespace halfpipe::cpu
