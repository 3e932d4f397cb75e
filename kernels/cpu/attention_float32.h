// SPDX-License-Identifier: Apache-2.0
// Attention by float32 arithmetic: of float32, and of bfloat16 that is widened first. As
// attention.h.
#pragma once

#include <cstddef>

#include "kernels/cpu/thread_pool.h"
#include "kernels/ops/attention.h"

namespace halfpipe::cpu {

void attention_forward_float32(const ops::AttentionForward& args, ThreadPool& pool);
[[nodiscard]] std::size_t attention_forward_float32_scratch_bytes(const ops::AttentionDims& dims,
                                                                  DType dtype,
                                                                  const ThreadPool& pool);
void attention_backward_input_float32(const ops::AttentionBackwardInput& args, ThreadPool& pool);
[[nodiscard]] std::size_t attention_backward_float32_scratch_bytes(const ops::AttentionDims& dims,
                                                                   DType dtype,
                                                                   const ThreadPool& pool);

}  // namespace halfpipe::cpu
