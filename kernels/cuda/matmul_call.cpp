// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/matmul_call.h"

namespace halfpipe::cuda {

cublasStatus_t MatmulCall::enqueue(cublasLtHandle_t handle, MatmulPlan& plan) const {
  cublasLtMatmulDescOpaque_t operation =
      describe(kind, args.bias_or_null, args.pre_activation_or_null);
  const void* const addend_or_null = args.accumulate ? args.c : args.residual_or_null;
  const float alpha = 1.0F;
  const float beta = addend_or_null == nullptr ? 0.0F : 1.0F;  // 0: the addend is not read
  return cublasLtMatmul(handle, &operation, &alpha, args.b, &plan.b, args.a, &plan.a, &beta,
                        addend_or_null == nullptr ? args.c : addend_or_null, &plan.c, args.c,
                        &plan.c, &plan.algorithm, workspace, kMatmulWorkspaceBytes, stream);
}

}  // namespace halfpipe::cuda
