// SPDX-License-Identifier: Apache-2.0
// GELU in its tanh form (Hendrycks and Gimpel 2016, arXiv:1606.08415; "gelu_new" of GPT-2).
#pragma once

#include <cstdint>

#include "kernels/core/dtype.h"
#include "kernels/core/error.h"
#include "kernels/ops/reduction.h"

namespace halfpipe::ops {

/// out[i] = 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), x = x[i]. Overwrites out; out may
/// alias x.
struct GeluForward {
  void* out;      // [count] dtype
  const void* x;  // [count] dtype
  std::int64_t count;
  DType dtype = DType::kFloat32;
};

/// dx[i] = dout[i] * gelu'(x[i]). Overwrites dx; dx may alias x or dout. With dbias, of the layer
/// that x comes from, dbias[c] += sum_n dx[n, c] of dx as it is stored: where all addresses are
/// multiples of 16 bytes, with the bits of ColumnSum (reduction.h).
struct GeluBackwardInput {
  void* dx;          // [count] dtype
  const void* dout;  // [count] dtype
  const void* x;     // [count] dtype   the input of forward
  std::int64_t count;
  DType dtype = DType::kFloat32;
  // With dbias all of these, and dx is [count / C, C].
  float* dbias_or_null = nullptr;  // [C]
  std::int64_t C = 0;
  void* scratch = nullptr;  // column_sum_scratch_bytes of dx
};

/// The sum that dbias is.
[[nodiscard]] inline ColumnSum column_sum_of(const GeluBackwardInput& args) {
  HALFPIPE_CHECK(args.C > 0 && args.count % args.C == 0, "GELU's gradient has no whole rows");
  return {.dst = args.dbias_or_null,
          .x = args.dx,
          .N = args.count / args.C,
          .C = args.C,
          .scratch = args.scratch,
          .dtype = args.dtype};
}

}  // namespace halfpipe::ops
