// SPDX-License-Identifier: Apache-2.0
// LayerNorm (Ba, Kiros, Hinton 2016, arXiv:1607.06450) over the last axis.
#pragma once

#include <cstdint>

#include "kernels/core/dtype.h"

namespace halfpipe::ops {

/// mean[n] = mean_c(x[n, c]);  rstd[n] = 1 / sqrt(mean_c((x[n, c] - mean[n])^2) + eps)
/// out[n, c] = (x[n, c] - mean[n]) * rstd[n] * weight[c] + bias[c]
/// Overwrites out, mean, rstd. out may alias x.
struct LayerNormForward {
  void* out;                 // [N, C] dtype
  float* mean;               // [N]     kept for backward
  float* rstd;               // [N]     kept for backward
  const void* x;             // [N, C] dtype
  const void* weight;        // [C] dtype
  const void* bias_or_null;  // [C] dtype
  std::int64_t N;
  std::int64_t C;
  float eps;
  DType dtype = DType::kFloat32;
};

/// With g[n, c] = dout[n, c] * weight[c] and xhat = (x - mean) * rstd:
///   dx[n, c] = rstd[n] * (g[n, c] - mean_c(g[n]) - xhat[n, c] * mean_c(g[n] * xhat[n])) +
///   residual[n, c]
/// Overwrites dx. dx may be the same pointer as x, dout or residual.
struct LayerNormBackwardInput {
  void* dx;                      // [N, C] dtype
  const void* dout;              // [N, C] dtype
  const void* x;                 // [N, C] dtype   the input of forward
  const float* mean;             // [N]
  const float* rstd;             // [N]
  const void* weight;            // [C] dtype
  const void* residual_or_null;  // [N, C] dtype   gradient that bypasses the norm
  std::int64_t N;
  std::int64_t C;
  DType dtype = DType::kFloat32;
};

/// dweight[c] += sum_n dout[n, c] * xhat[n, c];  dbias[c] += sum_n dout[n, c]. Accumulates into
/// both; the order of the additions depends on the backend, the shape, dtype and whether addresses
/// are multiples of 16 bytes, alone.
struct LayerNormBackwardWeight {
  float* dweight;        // [C]
  float* dbias_or_null;  // [C]
  const void* dout;      // [N, C] dtype
  const void* x;         // [N, C] dtype
  const float* mean;     // [N]
  const float* rstd;     // [N]
  std::int64_t N;
  std::int64_t C;
  void* scratch;  // layer_norm_backward_weight_scratch_bytes(args), contents undefined; null when 0
  DType dtype = DType::kFloat32;
};

}  // namespace halfpipe::ops
