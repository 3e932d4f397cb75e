// SPDX-License-Identifier: Apache-2.0
// Causal attention on a GPU. Contracts: kernels/ops/attention.h. Two runs give the same bits.
//
// Measured on an H100 in bfloat16, causal FLOPs at half: head size 128, T 4096: 372 TFLOP/s
// forward, 271 backward; head size 64, T 1024: 188 and 138 (docs/results/2026-11-27-h100.md).
#pragma once

#include <cuda_runtime.h>

#include <cstddef>

#include "kernels/core/dtype.h"
#include "kernels/ops/attention.h"

namespace halfpipe::cuda {

/// Heads of up to this size are supported; bfloat16 heads of 64, 96 and 128 by tensor cores.
inline constexpr int kMaxHeadSize = 256;

void attention_forward(const ops::AttentionForward& args, cudaStream_t stream);
[[nodiscard]] std::size_t attention_forward_scratch_bytes(const ops::AttentionDims& dims,
                                                          DType dtype);
void attention_backward_input(const ops::AttentionBackwardInput& args, cudaStream_t stream);
/// Tensor cores: dq in float32, 4 bytes per element of out. Otherwise dq in dtype.
[[nodiscard]] std::size_t attention_backward_scratch_bytes(const ops::AttentionDims& dims,
                                                           DType dtype);
void attention_decode(const ops::AttentionDecode& args, cudaStream_t stream);

}  // namespace halfpipe::cuda
