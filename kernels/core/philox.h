// SPDX-License-Identifier: Apache-2.0
// Philox4x32-10, a counter-based random generator (Salmon et al. 2011, "Parallel random numbers: as
// easy as 1, 2, 3"). A number depends on (key, counter) alone, so that initialisation and sampling
// give the same bits on any layout of ranks and threads.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <string_view>

namespace halfpipe {

inline constexpr int kPhiloxRounds = 10;
inline constexpr std::uint64_t kPhiloxMultiplier0 = 0xD2511F53;
inline constexpr std::uint64_t kPhiloxMultiplier1 = 0xCD9E8D57;
// Added to the halves of the key after each round.
inline constexpr std::uint32_t kPhiloxWeyl0 = 0x9E3779B9;
inline constexpr std::uint32_t kPhiloxWeyl1 = 0xBB67AE85;

/// Four random 32-bit words for one 64-bit key and one 128-bit counter.
[[nodiscard]] constexpr std::array<std::uint32_t, 4> philox(std::uint64_t key,
                                                            std::uint64_t counter_low,
                                                            std::uint64_t counter_high = 0) {
  auto low = [](std::uint64_t x) { return static_cast<std::uint32_t>(x); };
  auto high = [](std::uint64_t x) { return static_cast<std::uint32_t>(x >> 32U); };
  std::uint32_t k0 = low(key);
  std::uint32_t k1 = high(key);
  std::array<std::uint32_t, 4> c{low(counter_low), high(counter_low), low(counter_high),
                                 high(counter_high)};
  for (int round = 0; round < kPhiloxRounds; ++round) {
    const std::uint64_t product0 = kPhiloxMultiplier0 * c[0];
    const std::uint64_t product1 = kPhiloxMultiplier1 * c[2];
    c = {high(product1) ^ c[1] ^ k0, low(product1), high(product0) ^ c[3] ^ k1, low(product0)};
    k0 += kPhiloxWeyl0;
    k1 += kPhiloxWeyl1;
  }
  return c;
}

/// FNV-1a, 64 bits: turns a parameter name into a part of a Philox key.
[[nodiscard]] constexpr std::uint64_t hash_name(std::string_view name) {
  std::uint64_t hash = 0xcbf29ce484222325ULL;
  for (const char c : name) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  }
  return hash;
}

/// Uniform in (0, 1), never 0 nor 1.
[[nodiscard]] constexpr double uniform_open(std::uint32_t word) {
  return (static_cast<double>(word) + 0.5) / 4294967296.0;
}

/// A standard normal number from two words (Box and Muller 1958), computed in float64.
[[nodiscard]] inline double standard_normal(std::uint32_t word0, std::uint32_t word1) {
  const double radius = std::sqrt(-2.0 * std::log(uniform_open(word0)));
  return radius * std::cos(2.0 * std::numbers::pi * uniform_open(word1));
}

}  // namespace halfpipe
