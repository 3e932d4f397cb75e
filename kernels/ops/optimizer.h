// SPDX-License-Identifier: Apache-2.0
// AdamW with decoupled weight decay (Loshchilov and Hutter 2019, arXiv:1711.05101, algorithm 2).
#pragma once

#include <cstdint>

#include "kernels/core/bfloat16.h"
#include "kernels/core/dtype.h"
#include "kernels/core/stochastic_rounding.h"

namespace halfpipe::ops {

/// What a step writes. It can be shown before it is taken: kParam leaves the moments as they are,
/// kCopy writes copy_or_null alone. What is written has the bits that kAll gives it.
enum class AdamWWrites : std::uint8_t { kAll, kParam, kCopy };

/// With g = grad[i] * grad_scale and t = step:
///   m[i] <- beta1 m[i] + (1 - beta1) g;   v[i] <- beta2 v[i] + (1 - beta2) g^2
///   p[i] <- p[i] - learning_rate * weight_decay * p[i]
///           - learning_rate * (m[i] / (1 - beta1^t)) / (sqrt(v[i] / (1 - beta2^t)) + epsilon)
/// Updates param, m, v in place; grad is only read. copy_or_null is overwritten with p rounded to
/// bfloat16: the values that matrix products use when param is their float32 master.
///
/// Moments in bfloat16 are read as float32 and kept by round_stochastically: m[i] draws the lower
/// half of word (e mod 4) of rounding_words(rounding, e / 4), v[i] the upper half, e being
/// first_element + i, so that an update in pieces has the bits of one of the whole. p is stepped
/// with both as they are before rounding, which costs nothing and keeps the noise of this step's
/// rounding out of it.
struct AdamW {
  float* param;       // [count]
  void* m;            // [count], of moment_dtype
  void* v;            // [count], of moment_dtype
  const float* grad;  // [count]
  std::int64_t count;
  float learning_rate;
  float beta1;
  float beta2;
  float epsilon;
  float weight_decay;
  float grad_scale;                      // 1, or the clipping factor
  float bias_correction1;                // 1 - beta1^t
  float bias_correction2;                // 1 - beta2^t
  BFloat16* copy_or_null = nullptr;      // [count]
  DType moment_dtype = DType::kFloat32;  // or bfloat16
  RoundingStream rounding = {};          // of moments in bfloat16
  std::int64_t first_element = 0;        // of the parameter, where the arrays begin
  AdamWWrites writes = AdamWWrites::kAll;
  const float* from_or_null = nullptr;  // [count], which p is read from; null: param
};

}  // namespace halfpipe::ops
