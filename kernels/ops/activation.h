// SPDX-License-Identifier: Apache-2.0
// GELU in its tanh form (Hendrycks and Gimpel 2016, arXiv:1606.08415; "gelu_new" of GPT-2).
#pragma once

#include <cstdint>

#include "kernels/core/dtype.h"

namespace halfpipe::ops {

/// out[i] = 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), x = x[i]. Overwrites out; out may
/// alias x.
struct GeluForward {
  void* out;      // [count] dtype
  const void* x;  // [count] dtype
  std::int64_t count;
  DType dtype = DType::kFloat32;
};

/// dx[i] = dout[i] * gelu'(x[i]). Overwrites dx; dx may alias x or dout.
struct GeluBackwardInput {
  void* dx;          // [count] dtype
  const void* dout;  // [count] dtype
  const void* x;     // [count] dtype   the input of forward
  std::int64_t count;
  DType dtype = DType::kFloat32;
};

}  // namespace halfpipe::ops
