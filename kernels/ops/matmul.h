// SPDX-License-Identifier: Apache-2.0
// Matrix products of linear layers, with what follows them fused.
#pragma once

#include <cstdint>

namespace halfpipe::ops {

/// c = op(a) op(b) + bias + residual, or c += op(a) op(b) when accumulate is set (then bias and
/// residual are null). op(x) is x, or its transpose. residual may be the same pointer as c; c must
/// not alias a or b. The result has the same bits for any number of threads: work is split into
/// tiles whose shape depends on M, N, K alone, and no sum over K is ever divided between threads.
struct Matmul {
  float* c;                       // [M, N]
  const float* a;                 // [M, K], or [K, M] when transpose_a
  const float* b;                 // [K, N], or [N, K] when transpose_b
  const float* bias_or_null;      // [N]     added to every row
  const float* residual_or_null;  // [M, N]
  std::int64_t M;
  std::int64_t N;
  std::int64_t K;
  bool transpose_a;
  bool transpose_b;
  bool accumulate;
  void* scratch;  // matmul_scratch_bytes(args), contents undefined; null when that is 0
};

}  // namespace halfpipe::ops
