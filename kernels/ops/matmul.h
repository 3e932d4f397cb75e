// SPDX-License-Identifier: Apache-2.0
// Matrix products of linear layers, with what follows them fused.
#pragma once

#include <cstdint>

#include "kernels/core/dtype.h"
#include "kernels/core/error.h"

namespace halfpipe::ops {

/// Of a product with GELU: cuBLASLt stores pre-activations in rows of a multiple of this.
inline constexpr std::int64_t kGeluColumns = 8;

/// c = op(a) op(b) + bias + residual, or c += op(a) op(b) when accumulate is set (then bias and
/// residual are null, and c is float32 whatever dtype says: a main gradient). Sums are float32;
/// what is written as bfloat16 is rounded after bias and residual (cuBLASLt rounds some sums before
/// it adds those, too). op(x) is x, or its
/// transpose. residual may be the same pointer as c; c must not alias a or b. The result has the
/// same bits on every run and for any number of threads: how a sum over K is cut and in which order
/// its parts are added depends on the backend, its device, the arguments' sizes and flags, and
/// whether addresses are multiples of 16 bytes, alone.
///
/// With pre_activation, the MLP's first layer and GELU in one: pre_activation = op(a) op(b) + bias
/// and c is its GELU (activation.h), both overwritten. A backend may take GELU of the float32 sum,
/// so that c has other bits than GELU of the pre_activation that was kept. There is then no
/// residual, accumulate is not set, N is a multiple of kGeluColumns, and c aliases nothing.
struct Matmul {
  void* c;                       // [M, N] dtype; float32 when accumulate
  const void* a;                 // [M, K], or [K, M] when transpose_a; dtype
  const void* b;                 // [K, N], or [N, K] when transpose_b; dtype
  const void* bias_or_null;      // [N] dtype     added to every row
  const void* residual_or_null;  // [M, N] dtype
  std::int64_t M;
  std::int64_t N;
  std::int64_t K;
  bool transpose_a;
  bool transpose_b;
  bool accumulate;
  void* scratch;  // matmul_scratch_bytes(args), contents undefined; null when that is 0
  DType dtype = DType::kFloat32;
  void* pre_activation_or_null = nullptr;  // [M, N] dtype
};

/// InternalError where flags and operands do not go together.
inline void check_matmul(const Matmul& args) {
  HALFPIPE_CHECK(args.dtype == DType::kFloat32 || args.dtype == DType::kBFloat16,
                 "a product is of float32 or bfloat16");
  HALFPIPE_CHECK(
      !args.accumulate || (args.bias_or_null == nullptr && args.residual_or_null == nullptr),
      "a product that accumulates takes no bias and no residual");
  if (args.pre_activation_or_null == nullptr) return;
  HALFPIPE_CHECK(!args.accumulate && args.residual_or_null == nullptr,
                 "a product with GELU neither accumulates nor takes a residual");
  HALFPIPE_CHECK(args.N % kGeluColumns == 0, "the columns of a product with GELU come in eights");
}

}  // namespace halfpipe::ops
