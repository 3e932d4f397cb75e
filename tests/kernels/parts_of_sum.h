// SPDX-License-Identifier: Apache-2.0
// Operands of sum_parts under test, and what they sum up to, bit by bit.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/core/dtype.h"
#include "tests/kernels/element_values.h"

namespace halfpipe::testing {

/// In the values of the sum's type; bias and residual may be empty.
struct PartsOfSum {
  std::vector<std::vector<float>> parts;  // [N, C] each
  std::vector<float> bias;                // [C]
  std::vector<float> residual;            // [N, C]
};

/// The sum in float32, in the contract's order, rounded once.
inline std::vector<float> sum_in_order(const PartsOfSum& p, DType dtype) {
  std::vector<float> sum = p.parts.front();
  for (std::size_t i = 0; i < sum.size(); ++i) {
    for (std::size_t k = 1; k < p.parts.size(); ++k) sum[i] += p.parts[k][i];
    if (!p.bias.empty()) sum[i] += p.bias[i % p.bias.size()];
    if (!p.residual.empty()) sum[i] += p.residual[i];
  }
  return representable(sum, dtype);
}

/// Every part but that of own_index, which is NaN here: what reads it shows.
inline std::vector<float> received(const PartsOfSum& p, std::size_t own_index) {
  std::vector<float> values;
  for (std::size_t k = 0; k < p.parts.size(); ++k) {
    const std::vector<float> nothing(p.parts[k].size(), std::nanf(""));
    const auto& part = k == own_index ? nothing : p.parts[k];
    values.insert(values.end(), part.begin(), part.end());
  }
  return values;
}

/// Where the sum is written to.
enum class SumOut : std::uint8_t { kApart, kIsOwn, kIsResidual };

}  // namespace halfpipe::testing
