// SPDX-License-Identifier: Apache-2.0
// One call of cuBLASLt for one product.
#pragma once

#include <cublasLt.h>
#include <cuda_runtime.h>

#include "kernels/cuda/matmul_plan.h"
#include "kernels/ops/matmul.h"

namespace halfpipe::cuda {

struct MatmulCall {
  const ops::Matmul& args;
  MatmulKind kind;  // of args
  void* workspace;  // kMatmulWorkspaceBytes, aligned to kMatmulWorkspaceAlignment
  cudaStream_t stream;

  /// By plan.algorithm. What cuBLASLt answers; a failure on the device shows later.
  [[nodiscard]] cublasStatus_t enqueue(cublasLtHandle_t handle, MatmulPlan& plan) const;
};

}  // namespace halfpipe::cuda
