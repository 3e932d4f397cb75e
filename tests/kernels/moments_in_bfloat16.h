// SPDX-License-Identifier: Apache-2.0
// What AdamW leaves in moments of bfloat16, element by element from the contract.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/core/bfloat16.h"
#include "kernels/core/stochastic_rounding.h"

namespace halfpipe::testing {

/// Moments in float32, of elements first_element, first_element + 1, ... of a parameter, as they
/// are kept.
inline std::vector<BFloat16> kept_first_moment(const std::vector<float>& m,
                                               const RoundingStream& stream,
                                               std::int64_t first_element = 0) {
  std::vector<BFloat16> kept(m.size());
  for (std::size_t i = 0; i < m.size(); ++i) {
    const std::uint64_t element = static_cast<std::uint64_t>(first_element) + i;
    kept[i] =
        round_stochastically(m[i], rounding_words(stream, element / 4)[element % 4] & 0xffffU);
  }
  return kept;
}
inline std::vector<BFloat16> kept_second_moment(const std::vector<float>& v,
                                                const RoundingStream& stream,
                                                std::int64_t first_element = 0) {
  std::vector<BFloat16> kept(v.size());
  for (std::size_t i = 0; i < v.size(); ++i) {
    const std::uint64_t element = static_cast<std::uint64_t>(first_element) + i;
    kept[i] = round_stochastically(v[i], rounding_words(stream, element / 4)[element % 4] >> 16);
  }
  return kept;
}

}  // namespace halfpipe::testing
