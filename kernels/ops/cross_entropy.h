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
  void* scratch = nullptr;  // cross_entropy_scratch_bytes(args), contents undefined; null when 0
};

/// Where tensor ranks share the vocabulary, each has the logits of a slice: columns 0 .. V - 1 are
/// of ids first_id .. first_id + V - 1, columns V .. stride - 1 are padding. Each computes the
/// statistics of its slice; with those of all slices each computes the loss and the gradient of its
/// own logits, which are never gathered (Shoeybi et al. 2019, arXiv:1909.08053, section 3).
///
/// Of a row: statistics[n] = {largest logit of the slice, sum_v exp(logits[n, v] - largest) over
/// all v but the target, the target's logit}; {-inf, 0, -inf} where the slice is empty, and -inf as
/// the last one where another slice has the target. Overwrites statistics.
struct CrossEntropyStatistics {
  float* statistics;            // [N, 3]
  const void* logits;           // [N, stride] dtype
  const std::int32_t* targets;  // [N], ids of the whole vocabulary
  std::int64_t N;
  std::int64_t V;       // of the slice, 0 for one of padding alone
  std::int64_t stride;  // at least V
  std::int64_t first_id;
  DType dtype = DType::kFloat32;
};

/// The loss and gradient of CrossEntropy from the statistics of every slice, which are combined in
/// their order: every rank has the same losses, bit for bit. Padding's gradient is 0.
struct CrossEntropyOfSlice {
  float* losses;                // [N]
  void* logits;                 // [N, stride] dtype  in: logits; out: dlogits, unless scale is 0
  const std::int32_t* targets;  // [N]
  const float* statistics;      // [num_slices, N, 3]
  std::int64_t num_slices;
  std::int64_t N;
  std::int64_t V;
  std::int64_t stride;
  std::int64_t first_id;
  float scale;
  DType dtype = DType::kFloat32;
};

}  // namespace halfpipe::ops
