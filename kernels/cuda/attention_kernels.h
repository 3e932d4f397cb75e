// SPDX-License-Identifier: Apache-2.0
// The algorithms behind kernels/cuda/attention.h, chosen there by element type and head size.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "kernels/core/dtype.h"
#include "kernels/ops/attention.h"

namespace halfpipe::cuda {

/// Whether the kernels for tensor cores know the operation.
[[nodiscard]] constexpr bool has_tensor_core_kernel(const ops::AttentionDims& dims, DType dtype) {
  return dtype == DType::kBFloat16 && (dims.HS == 64 || dims.HS == 96 || dims.HS == 128);
}

void attention_forward_tensor_core(const ops::AttentionForward& args, cudaStream_t stream);
void attention_backward_tensor_core(const ops::AttentionBackwardInput& args, cudaStream_t stream);
[[nodiscard]] std::size_t attention_backward_tensor_core_scratch_bytes(
    const ops::AttentionDims& dims);

/// Float32 arithmetic whatever dtype is; heads of up to kMaxHeadSize.
void attention_forward_float32(const ops::AttentionForward& args, cudaStream_t stream);
void attention_backward_float32(const ops::AttentionBackwardInput& args, cudaStream_t stream);
[[nodiscard]] std::size_t attention_backward_float32_scratch_bytes(const ops::AttentionDims& dims,
                                                                   DType dtype);

}  // namespace halfpipe::cuda
