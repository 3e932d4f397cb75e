// SPDX-License-Identifier: Apache-2.0
// Stochastic rounding (kernels/core/stochastic_rounding.h) of sixteen lanes, and its random words
// many at once.
#pragma once

#include <cstdint>
#include <cstring>

#include "kernels/core/stochastic_rounding.h"
#include "kernels/cpu/lanes.h"

namespace halfpipe::cpu {

/// Groups that fill_rounding_words makes at once.
inline constexpr std::int64_t kRoundingGroupsAtOnce = kVectorLanes;

/// Overwrites out with the rounding_words of first_group, first_group + 1, ...: of num_groups,
/// rounded up to a multiple of kRoundingGroupsAtOnce.
void fill_rounding_words(const RoundingStream& stream,
                         std::int64_t first_group,
                         std::int64_t num_groups,
                         std::uint32_t* out);

/// Which half of a word is drawn.
enum class WordHalf : std::uint8_t { kLower, kUpper };

/// Each lane as round_stochastically leaves it, with the number in the half of its word: values
/// that storing as bfloat16 keeps.
template <WordHalf kHalf>
[[gnu::always_inline]] inline Lanes round_stochastically(const Lanes& lanes,
                                                         const std::uint32_t* words) {
  constexpr std::uint32_t kLargest = 0x7f7f0000;
  Lanes rounded;
  for (int i = 0; i < kVectorsOfLanes; ++i) {
    WordVector word;
    std::memcpy(&word, words + i * kVectorLanes, sizeof(word));
    const WordVector random = kHalf == WordHalf::kLower ? word & 0xffffU : word >> 16;
    const FloatVector value = lanes.vector[i];
    const auto bits = reinterpret_cast<WordVector>(value);
    const WordVector drawn = (bits & 0x7fffffffU) < kLargest ? bits + random : bits;
    const WordVector not_nan = drawn & 0xffff0000U;
    rounded.vector[i] = value == value ? reinterpret_cast<FloatVector>(not_nan) : value;
  }
  return rounded;
}

}  // namespace halfpipe::cpu
