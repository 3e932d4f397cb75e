// SPDX-License-Identifier: Apache-2.0
// Causal multi-head attention, block-wise with an online softmax (Dao et al. 2022,
// arXiv:2205.14135): no [B, NH, T, T] tensor exists in either direction, but for cuDNN's backward.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/core/dtype.h"

namespace halfpipe::ops {

struct AttentionDims {
  std::int64_t B;
  std::int64_t T;
  std::int64_t NH;
  std::int64_t HS;
};

/// s[i, j] = scale * q[i] . k[j] for j <= i;  out[i] = sum_j softmax_j(s[i, :]) v[j];  lse[i] = log
/// sum_j exp(s[i, j]), with scale = 1 / sqrt(HS). Overwrites out and lse.
struct AttentionForward {
  void* out;        // [B, T, NH, HS] dtype
  float* lse;       // [B, NH, T]      kept for backward
  const void* qkv;  // [B, T, 3, NH, HS] dtype
  AttentionDims dims;
  void* scratch;  // attention_forward_scratch_bytes(dims), contents undefined
  DType dtype = DType::kFloat32;
};

/// Gradient of AttentionForward. Overwrites dqkv. dqkv may be the same pointer as qkv.
struct AttentionBackwardInput {
  void* dqkv;        // [B, T, 3, NH, HS] dtype
  const void* dout;  // [B, T, NH, HS] dtype
  const void* qkv;   // [B, T, 3, NH, HS] dtype
  const void* out;   // [B, T, NH, HS] dtype
  const float* lse;  // [B, NH, T]
  AttentionDims dims;
  void* scratch;  // attention_backward_scratch_bytes(dims), contents undefined
  DType dtype = DType::kFloat32;
};

/// One new position per sequence against a cache (generation), in float32. The caller has already
/// written this position's key and value into the cache. Overwrites out.
///   out[b, h] = sum_{j <= position} softmax_j(scale * q[b, h] . k[b, j, h]) v[b, j, h]
struct AttentionDecode {
  float* out;      // [B, NH, HS]
  const float* q;  // [B, NH, HS], sequence stride q_stride floats
  std::int64_t q_stride;
  const float* k;  // [B, T_max, NH, HS]
  const float* v;  // [B, T_max, NH, HS]
  std::int64_t B;
  std::int64_t T_max;
  std::int64_t NH;
  std::int64_t HS;
  std::int64_t position;  // index of the new position, < T_max
};

}  // namespace halfpipe::ops
