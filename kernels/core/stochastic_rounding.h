// SPDX-License-Identifier: Apache-2.0
// Float32 to bfloat16 up or down by chance, so that what a rounding loses comes back on average: a
// running mean kept in bfloat16 follows changes that are too small for rounding to the nearest.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

#include "kernels/core/bfloat16.h"
#include "kernels/core/philox.h"

namespace halfpipe {

/// The two values of bfloat16 on either side of `value`: the one away from zero with probability
/// (distance to the other) / (distance between them), for `random` uniform in 0 .. 65535, so that
/// the mean is `value` exactly. What bfloat16 has stays, zeros with their sign and infinities
/// included; NaN stays NaN (made quiet). There is nothing to choose from beyond the largest
/// bfloat16, 3.39e38: values there become it, so that none that is finite becomes infinite.
[[nodiscard]] constexpr BFloat16 round_stochastically(float value, std::uint32_t random) {
  constexpr std::uint32_t kLargest = 0x7f7f0000;
  constexpr std::uint32_t kInfinity = 0x7f800000;
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t magnitude = bits & 0x7fffffffU;
  const std::uint32_t quiet = magnitude > kInfinity ? 0x0040U : 0U;
  const std::uint32_t added = magnitude < kLargest ? random : 0U;
  return {static_cast<std::uint16_t>(((bits + added) >> 16) | quiet)};
}

/// Names the random words of one step of one parameter. They are a function of it and the element
/// alone, so that whoever rounds an element, in whatever order, rounds it the same way.
struct RoundingStream {
  std::uint64_t seed = 0;
  std::uint32_t parameter = 0;  // its place in the model, the same on any layout of ranks
  std::uint32_t step = 0;       // from 1: other streams of the seed have no such counters
};

/// Elements that share one draw.
inline constexpr int kRoundingGroup = 4;

/// The upper half of Philox's counter in every draw of a stream.
[[nodiscard]] constexpr std::uint64_t counter_of(const RoundingStream& stream) {
  return static_cast<std::uint64_t>(stream.step) << 32U | stream.parameter;
}

/// One word for each of the elements 4 * group .. 4 * group + 3: two independent numbers of 16 bits
/// in its halves.
[[nodiscard]] constexpr std::array<std::uint32_t, kRoundingGroup> rounding_words(
    const RoundingStream& stream, std::uint64_t group) {
  return philox(stream.seed, group, counter_of(stream));
}

}  // namespace halfpipe
