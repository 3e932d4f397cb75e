// SPDX-License-Identifier: Apache-2.0
// LayerNorm (Ba, Kiros, Hinton 2016, arXiv:1607.06450) over the last axis.
#pragma once

#include <cstdint>

namespace halfpipe::ops {

/// mean[n] = mean_c(x[n, c]);  rstd[n] = 1 / sqrt(mean_c((x[n, c] - mean[n])^2) + eps)
/// out[n, c] = (x[n, c] - mean[n]) * rstd[n] * weight[c] + bias[c]
/// Overwrites out, mean, rstd. out may alias x.
struct LayerNormForward {
  float* out;                 // [N, C]
  float* mean;                // [N]     kept for backward
  float* rstd;                // [N]     kept for backward
  const float* x;             // [N, C]
  const float* weight;        // [C]
  const float* bias_or_null;  // [C]
  std::int64_t N;
  std::int64_t C;
  float eps;
};

/// With g[n, c] = dout[n, c] * weight[c] and xhat = (x - mean) * rstd:
///   dx[n, c] = rstd[n] * (g[n, c] - mean_c(g[n]) - xhat[n, c] * mean_c(g[n] * xhat[n])) +
///   residual[n, c]
/// Overwrites dx. dx may be the same pointer as x, dout or residual.
struct LayerNormBackwardInput {
  float* dx;                      // [N, C]
  const float* dout;              // [N, C]
  const float* x;                 // [N, C]   the input of forward
  const float* mean;              // [N]
  const float* rstd;              // [N]
  const float* weight;            // [C]
  const float* residual_or_null;  // [N, C]   gradient that bypasses the norm
  std::int64_t N;
  std::int64_t C;
};

/// dweight[c] += sum_n dout[n, c] * xhat[n, c];  dbias[c] += sum_n dout[n, c]. Accumulates into
/// both, rows in order.
struct LayerNormBackwardWeight {
  float* dweight;        // [C]
  float* dbias_or_null;  // [C]
  const float* dout;     // [N, C]
  const float* x;        // [N, C]
  const float* mean;     // [N]
  const float* rstd;     // [N]
  std::int64_t N;
  std::int64_t C;
};

}  // namespace halfpipe::ops
