// SPDX-License-Identifier: Apache-2.0
// Fused softmax and cross-entropy: the gradient takes the place of the logits, probabilities are
// never kept.
#pragma once

#include <cstdint>

#include "kernels/core/dtype.h"

namespace halfpipe::ops {

/// losses[n] = log sum_v exp(logits[n, v]) - logits[n, targets[n]]
/// Overwrites losses. When scale is not 0, overwrites logits with its gradient times scale:
///   logits[n, v] <- scale * (softmax_v(logits[n, :]) - [v == targets[n]])
/// and leaves logits untouched when scale is 0 (evaluation). Sums in float32 or wider whatever the
/// width V.
struct CrossEntropy {
  float* losses;                // [N]
  void* logits;                 // [N, V] dtype  in: logits; out: dlogits
  const std::int32_t* targets;  // [N], each in 0 .. V-1
  std::int64_t N;
  std::int64_t V;
  float scale;  // usually 1 / (tokens per optimizer step)
  DType dtype = DType::kFloat32;
};

}  // namespace halfpipe::ops
