// SPDX-License-Identifier: Apache-2.0
// Matrix products on the GPU, by cuBLASLt. Contract: kernels/ops/matmul.h.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>

#include "kernels/cuda/matmul_plan.h"
#include "kernels/ops/matmul.h"

namespace halfpipe::cuda {

/// The device of `plans` and `stream` is current.
void matmul(const ops::Matmul& args, MatmulPlans& plans, cudaStream_t stream);
/// The same for all products that are not empty.
[[nodiscard]] std::size_t matmul_scratch_bytes(const ops::Matmul& args);

}  // namespace halfpipe::cuda
