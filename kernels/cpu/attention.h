// SPDX-License-Identifier: Apache-2.0
// Causal attention on the CPU. Contracts: kernels/ops/attention.h.
#pragma once

#include <cstddef>

#include "kernels/cpu/thread_pool.h"
#include "kernels/ops/attention.h"

namespace halfpipe::cpu {

/// Whether probabilities and gradients of scores are rounded to bfloat16 on the way.
[[nodiscard]] bool attention_multiplies_pairs(const ops::AttentionDims& dims, DType dtype);

void attention_forward(const ops::AttentionForward& args, ThreadPool& pool);
/// A buffer per thread of the pool, which grows with HS but not with T.
[[nodiscard]] std::size_t attention_forward_scratch_bytes(const ops::AttentionDims& dims,
                                                          DType dtype,
                                                          const ThreadPool& pool);
void attention_backward_input(const ops::AttentionBackwardInput& args, ThreadPool& pool);
/// A buffer per thread of the pool, which grows with T * HS.
[[nodiscard]] std::size_t attention_backward_scratch_bytes(const ops::AttentionDims& dims,
                                                           DType dtype,
                                                           const ThreadPool& pool);
void attention_decode(const ops::AttentionDecode& args, ThreadPool& pool);

}  // namespace halfpipe::cpu
