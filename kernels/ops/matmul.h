// SPDX-License-Identifier: Apache-2.0
// Matrix products of linear layers, with what follows them fused.
#pragma once

#include <cstdint>

#include "kernels/core/dtype.h"

namespace halfpipe::ops {

/// c = op(a) op(b) + bias + residual, or c += op(a) op(b) when accumulate is set (then bias and
/// residual are null, and c is float32 whatever dtype says: a main gradient). Sums are float32;
/// what is written as bfloat16 is rounded after bias and residual (cuBLASLt rounds some sums before
/// it adds those, too). op(x) is x, or its
/// transpose. residual may be the same pointer as c; c must not alias a or b. The result has the
/// same bits on every run and for any number of threads: how a sum over K is cut and in which order
/// its parts are added depends on the backend, its device, the arguments' sizes and flags, and
/// whether addresses are multiples of 16 bytes, alone.
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
};

}  // namespace halfpipe::ops
