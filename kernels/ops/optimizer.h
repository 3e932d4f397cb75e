// SPDX-License-Identifier: Apache-2.0
// AdamW with decoupled weight decay (Loshchilov and Hutter 2019, arXiv:1711.05101, algorithm 2).
#pragma once

#include <cstdint>

#include "kernels/core/bfloat16.h"

namespace halfpipe::ops {

/// With g = grad[i] * grad_scale and t = step:
///   m[i] <- beta1 m[i] + (1 - beta1) g;   v[i] <- beta2 v[i] + (1 - beta2) g^2
///   p[i] <- p[i] - learning_rate * weight_decay * p[i]
///           - learning_rate * (m[i] / (1 - beta1^t)) / (sqrt(v[i] / (1 - beta2^t)) + epsilon)
/// Updates param, m, v in place; grad is only read. copy_or_null is overwritten with p rounded to
/// bfloat16: the values that matrix products use when param is their float32 master.
struct AdamW {
  float* param;       // [count]
  float* m;           // [count]
  float* v;           // [count]
  const float* grad;  // [count]
  std::int64_t count;
  float learning_rate;
  float beta1;
  float beta2;
  float epsilon;
  float weight_decay;
  float grad_scale;                  // 1, or the clipping factor
  float bias_correction1;            // 1 - beta1^t
  float bias_correction2;            // 1 - beta2^t
  BFloat16* copy_or_null = nullptr;  // [count]
};

}  // namespace halfpipe::ops
