// SPDX-License-Identifier: Apache-2.0
// GELU in its tanh form (Hendrycks and Gimpel 2016, arXiv:1606.08415; "gelu_new" of GPT-2).
#pragma once

#include <cstdint>

namespace halfpipe::ops {

/// out[i] = 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), x = x[i]. Overwrites out; out may
/// alias x.
struct GeluForward {
  float* out;      // [count]
  const float* x;  // [count]
  std::int64_t count;
};

/// dx[i] = dout[i] * gelu'(x[i]). Overwrites dx; dx may alias x or dout.
struct GeluBackwardInput {
  float* dx;          // [count]
  const float* dout;  // [count]
  const float* x;     // [count]   the input of forward
  std::int64_t count;
};

}  // namespace halfpipe::ops
