// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/matmul.h"

#include <algorithm>
#include <cstdint>

#include "kernels/core/align.h"
#include "kernels/core/error.h"
#include "kernels/cuda/cuda_check.h"

namespace halfpipe::cuda {
namespace {

// What cublasLtMatmul asks of its workspace; scratch is aligned to 64 bytes only.
constexpr std::size_t kWorkspaceAlignment = 256;

bool writes_nothing(const ops::Matmul& args) {
  return args.M == 0 || args.N == 0 || (args.K == 0 && args.accumulate);
}

/// Elements that an empty sum needs of a zero vector that serves as both operands.
std::size_t num_zeros(const ops::Matmul& args) {
  return static_cast<std::size_t>(std::max(args.M, args.N));
}

/// cuBLASLt takes no empty sum: one over a single product of zeros, from scratch, adds bias and
/// residual the same way.
ops::Matmul with_one_zero_term(const ops::Matmul& args, void* zeros, cudaStream_t stream) {
  HALFPIPE_CUDA_CHECK(cudaMemsetAsync(zeros, 0, num_zeros(args) * size_of(args.dtype), stream));
  ops::Matmul product = args;
  product.a = zeros;
  product.b = zeros;
  product.K = 1;
  return product;
}

void multiply(const ops::Matmul& args, void* workspace, MatmulPlans& plans, cudaStream_t stream) {
  const MatmulKind kind = kind_of(args);
  MatmulPlan& plan = plans.plan_for(kind);
  cublasLtMatmulDescOpaque_t operation = describe(kind, args.bias_or_null);
  const void* const addend_or_null = args.accumulate ? args.c : args.residual_or_null;
  const float alpha = 1.0F;
  const float beta = addend_or_null == nullptr ? 0.0F : 1.0F;  // 0: the addend is not read
  HALFPIPE_CUBLAS_CHECK(
      cublasLtMatmul(plans.handle(), &operation, &alpha, args.b, &plan.b, args.a, &plan.a, &beta,
                     addend_or_null == nullptr ? args.c : addend_or_null, &plan.c, args.c, &plan.c,
                     &plan.algorithm, workspace, kMatmulWorkspaceBytes, stream));
}

}  // namespace

void matmul(const ops::Matmul& args, MatmulPlans& plans, cudaStream_t stream) {
  HALFPIPE_CHECK(args.dtype == DType::kFloat32 || args.dtype == DType::kBFloat16,
                 "a product is of float32 or bfloat16");
  HALFPIPE_CHECK(
      !args.accumulate || (args.bias_or_null == nullptr && args.residual_or_null == nullptr),
      "a product that accumulates takes no bias and no residual");
  if (writes_nothing(args)) return;
  HALFPIPE_CHECK(args.scratch != nullptr, "a product on the GPU needs scratch");
  const auto address = reinterpret_cast<std::uintptr_t>(args.scratch);
  std::byte* const workspace = static_cast<std::byte*>(args.scratch) +
                               (round_up(address, std::uintptr_t{kWorkspaceAlignment}) - address);
  if (args.K == 0) {
    multiply(with_one_zero_term(args, workspace + kMatmulWorkspaceBytes, stream), workspace, plans,
             stream);
  } else {
    multiply(args, workspace, plans, stream);
  }
}

std::size_t matmul_scratch_bytes(const ops::Matmul& args) {
  if (writes_nothing(args)) return 0;
  const std::size_t zeros = args.K == 0 ? num_zeros(args) * size_of(args.dtype) : 0;
  return kMatmulWorkspaceBytes + kWorkspaceAlignment + zeros;
}

}  // namespace halfpipe::cuda
