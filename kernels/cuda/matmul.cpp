// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/matmul.h"

#include <algorithm>
#include <cstdint>

#include "kernels/core/align.h"
#include "kernels/core/error.h"
#include "kernels/cuda/cuda_check.h"
#include "kernels/cuda/matmul_call.h"
#include "kernels/cuda/matmul_tuner.h"

namespace halfpipe::cuda {
namespace {

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
  const MatmulCall call{args, kind_of(args), workspace, stream};
  if (plans.wants_measurement(call.kind)) plans.choose(call.kind, find_quickest(call, plans));
  MatmulPlan& plan = plans.plan_for(call.kind);
  HALFPIPE_CUBLAS_CHECK(call.enqueue(plans.handle(), plan));
}

}  // namespace

void matmul(const ops::Matmul& args, MatmulPlans& plans, cudaStream_t stream) {
  ops::check_matmul(args);
  if (writes_nothing(args)) return;
  HALFPIPE_CHECK(args.scratch != nullptr, "a product on the GPU needs scratch");
  const auto address = reinterpret_cast<std::uintptr_t>(args.scratch);
  // Scratch is aligned to 64 bytes only.
  std::byte* const workspace =
      static_cast<std::byte*>(args.scratch) +
      (round_up(address, std::uintptr_t{kMatmulWorkspaceAlignment}) - address);
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
  return kMatmulWorkspaceBytes + kMatmulWorkspaceAlignment + zeros;
}

}  // namespace halfpipe::cuda
