// SPDX-License-Identifier: Apache-2.0
// How cuBLASLt computes one kind of product: decided at its first use, the same on every rank and
// in every run.
#pragma once

#include <cublasLt.h>

#include <compare>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>

#include "kernels/core/dtype.h"
#include "kernels/cuda/cublas_lt.h"
#include "kernels/ops/matmul.h"

namespace halfpipe::cuda {

/// What cuBLASLt may use for sums that it splits, as NVIDIA recommends for Hopper (cuBLAS
/// documentation, cublasSetWorkspace). The same for all products and devices.
inline constexpr std::size_t kMatmulWorkspaceBytes = std::size_t{32} << 20;

/// All that the choice of an algorithm may depend on.
struct MatmulKind {
  std::int64_t M;
  std::int64_t N;
  std::int64_t K;
  DType dtype;
  bool transpose_a;
  bool transpose_b;
  bool accumulate;
  bool has_bias;
  // Bytes, at most 16: the widest access of a thread. More would let the algorithm, and with it the
  // bits of the result, depend on where an arena placed the operand.
  std::uint32_t a_alignment;
  std::uint32_t b_alignment;
  std::uint32_t c_alignment;  // of c and residual, the lesser
  std::uint32_t bias_alignment;

  // NOLINTNEXTLINE(modernize-use-nullptr)
  friend auto operator<=>(const MatmulKind&, const MatmulKind&) = default;
};

[[nodiscard]] MatmulKind kind_of(const ops::Matmul& args);

/// The operation for cuBLASLt, whose matrices are column-major: a row-major matrix read as
/// column-major is its transpose, so it computes c^T = op(b)^T op(a)^T, with our b as its A and our
/// a as its B. A bias of c's columns is then one of c^T's rows, which its epilogue adds.
[[nodiscard]] cublasLtMatmulDescOpaque_t describe(const MatmulKind& kind, const void* bias_or_null);

struct MatmulPlan {
  cublasLtMatrixLayoutOpaque_t a;
  cublasLtMatrixLayoutOpaque_t b;
  cublasLtMatrixLayoutOpaque_t c;
  cublasLtMatmulAlgo_t algorithm;
};

/// The plans made so far and the context that they are of, which the first plan makes: until then
/// no device is needed. Any number of threads.
class MatmulPlans {
 public:
  /// Makes the plan at the first use of a kind; nothing is allocated after that. Throws
  /// RuntimeFailure when cuBLASLt has no algorithm. The reference stays valid, and the plan is not
  /// changed any more (cublasLtMatmul only asks for pointers without const).
  [[nodiscard]] MatmulPlan& plan_for(const MatmulKind& kind);

  /// After plan_for.
  [[nodiscard]] cublasLtHandle_t handle() const noexcept { return handle_->get(); }

 private:
  std::optional<CublasLtHandle> handle_;
  std::mutex mutex_;
  std::map<MatmulKind, MatmulPlan> plans_;
};

}  // namespace halfpipe::cuda
