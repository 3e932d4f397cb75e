// SPDX-License-Identifier: Apache-2.0
// How cuBLASLt computes one kind of product: decided at its first use, the same on every rank and
// in every run.
#pragma once

#include <cublasLt.h>

#include <atomic>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "kernels/core/dtype.h"
#include "kernels/cuda/cublas_lt.h"
#include "kernels/device/tuner.h"
#include "kernels/ops/matmul.h"

namespace halfpipe::cuda {

/// What cuBLASLt may use for sums that it splits, as NVIDIA recommends for Hopper (cuBLAS
/// documentation, cublasSetWorkspace). The same for all products and devices.
inline constexpr std::size_t kMatmulWorkspaceBytes = std::size_t{32} << 20;
/// Of its address.
inline constexpr std::size_t kMatmulWorkspaceAlignment = 256;

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
  bool has_gelu;
  // Bytes, at most 16: the widest access of a thread. More would let the algorithm, and with it the
  // bits of the result, depend on where an arena placed the operand.
  std::uint32_t a_alignment;
  std::uint32_t b_alignment;
  std::uint32_t c_alignment;  // of c, residual and pre_activation, the least
  std::uint32_t bias_alignment;

  // NOLINTNEXTLINE(modernize-use-nullptr)
  friend auto operator<=>(const MatmulKind&, const MatmulKind&) = default;
};

[[nodiscard]] MatmulKind kind_of(const ops::Matmul& args);
/// All of it in words, for messages and as the name of a choice.
[[nodiscard]] std::string name_of(const MatmulKind& kind);

/// The operation for cuBLASLt, whose matrices are column-major: a row-major matrix read as
/// column-major is its transpose, so it computes c^T = op(b)^T op(a)^T, with our b as its A and our
/// a as its B. A bias of c's columns is then one of c^T's rows, which its epilogue adds, and
/// pre_activation its auxiliary output. Its GELU is the tanh form of the sum before rounding.
///
/// Its gradients are not used. That of GELU (DGELU) may not overwrite the pre-activation, which
/// would have to be kept beside it: [N, 4 C] more for each micro-batch and block in flight. Those
/// of a bias (DGELU_BGRAD, BGRADB) overwrite a vector of c's type, where ours adds to float32.
[[nodiscard]] cublasLtMatmulDescOpaque_t describe(const MatmulKind& kind,
                                                  const void* bias_or_null,
                                                  const void* pre_activation_or_null);

struct MatmulPlan {
  cublasLtMatrixLayoutOpaque_t a;
  cublasLtMatrixLayoutOpaque_t b;
  cublasLtMatrixLayoutOpaque_t c;
  cublasLtMatmulAlgo_t algorithm;
};

/// At most `most` algorithms for a product of this kind and layout, the one that cuBLASLt holds to
/// be quickest first; never none. Throws RuntimeFailure when cuBLASLt has none.
[[nodiscard]] std::vector<cublasLtMatmulAlgo_t> find_algorithms(cublasLtHandle_t handle,
                                                                const MatmulKind& kind,
                                                                MatmulPlan& plan,
                                                                int most);

/// The plans made so far and the context that they are of, which the first plan makes: until then
/// no device is needed. Any number of threads, but for use().
class MatmulPlans {
 public:
  /// Makes the plan at the first use of a kind, by its choice or else by the first algorithm that
  /// cuBLASLt proposes; nothing is allocated after that. Throws RuntimeFailure when cuBLASLt has no
  /// algorithm or refuses the chosen one. The reference stays valid until use(), and the plan is
  /// not changed any more (cublasLtMatmul only asks for pointers without const).
  [[nodiscard]] MatmulPlan& plan_for(const MatmulKind& kind);

  /// After plan_for.
  [[nodiscard]] cublasLtHandle_t handle() const noexcept { return handle_->get(); }

  /// In place of all choices and plans. Not while another thread uses a plan.
  void use(device::TunedChoices choices);
  [[nodiscard]] device::TunedChoices choices() const;
  void choose(const MatmulKind& kind, const device::TunedChoice& choice);
  void set_measuring(bool measuring) noexcept { measuring_ = measuring; }
  /// Whether a choice is to be measured now: set_measuring, and there is none yet.
  [[nodiscard]] bool wants_measurement(const MatmulKind& kind) const;

 private:
  std::optional<CublasLtHandle> handle_;
  mutable std::mutex mutex_;
  std::map<MatmulKind, MatmulPlan> plans_;
  device::TunedChoices choices_;
  std::atomic<bool> measuring_ = false;
};

}  // namespace halfpipe::cuda
