// SPDX-License-Identifier: Apache-2.0
// What every operation has to do at least, whatever computes it: the roofline's two axes (Williams,
// Waterman, Patterson 2009, doi:10.1145/1498765.1498785).
#pragma once

#include "kernels/ops/activation.h"
#include "kernels/ops/attention.h"
#include "kernels/ops/cross_entropy.h"
#include "kernels/ops/embedding.h"
#include "kernels/ops/matmul.h"
#include "kernels/ops/norm.h"
#include "kernels/ops/optimizer.h"
#include "kernels/ops/reduction.h"

namespace halfpipe::ops {

struct OpCost {
  double flops = 0.0;  // of matrix products: two per multiply-add; causal attention at half
  double bytes = 0.0;  // every operand and result moved once

  OpCost& operator+=(const OpCost& other) {
    flops += other.flops;
    bytes += other.bytes;
    return *this;
  }
};

/// Pointers are not read, only which of them are null. Results that are accumulated count as read
/// and written; scratch does not count.
/// As if every token were one of the ids that the table has; so is the gradient.
[[nodiscard]] OpCost cost_of(const EmbeddingForward& args);
[[nodiscard]] OpCost cost_of(const EmbeddingBackwardWeight& args);
[[nodiscard]] OpCost cost_of(const LayerNormForward& args);
[[nodiscard]] OpCost cost_of(const LayerNormBackwardInput& args);
[[nodiscard]] OpCost cost_of(const LayerNormBackwardWeight& args);
[[nodiscard]] OpCost cost_of(const Matmul& args);
[[nodiscard]] OpCost cost_of(const GeluForward& args);
[[nodiscard]] OpCost cost_of(const GeluBackwardInput& args);
[[nodiscard]] OpCost cost_of(const AttentionForward& args);
/// Five products, one of them the scores that forward did not keep.
[[nodiscard]] OpCost cost_of(const AttentionBackwardInput& args);
[[nodiscard]] OpCost cost_of(const AttentionDecode& args);
[[nodiscard]] OpCost cost_of(const CrossEntropy& args);
/// Padding does not count, neither here nor below.
[[nodiscard]] OpCost cost_of(const CrossEntropyStatistics& args);
[[nodiscard]] OpCost cost_of(const CrossEntropyOfSlice& args);
[[nodiscard]] OpCost cost_of(const AdamW& args);
[[nodiscard]] OpCost cost_of(const SumOfSquares& args);
[[nodiscard]] OpCost cost_of(const Accumulate& args);
[[nodiscard]] OpCost cost_of(const ColumnSum& args);
[[nodiscard]] OpCost cost_of(const SumParts& args);
[[nodiscard]] OpCost cost_of(const RoundToBFloat16& args);

}  // namespace halfpipe::ops
