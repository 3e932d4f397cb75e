// SPDX-License-Identifier: Apache-2.0
// Naive float64 references of kernels/ops/attention.h: the formulas as written, with the whole row
// of probabilities.
#pragma once

#include <vector>

#include "kernels/ops/attention.h"

namespace halfpipe::reference {

struct AttentionResult {
  std::vector<double> out;  // [B, T, NH, HS]
  std::vector<double> lse;  // [B, NH, T]
};
AttentionResult attention(const std::vector<double>& qkv, const ops::AttentionDims& dims);

/// dqkv, [B, T, 3, NH, HS].
std::vector<double> attention_backward(const std::vector<double>& dout,
                                       const std::vector<double>& qkv,
                                       const ops::AttentionDims& dims);

}  // namespace halfpipe::reference
