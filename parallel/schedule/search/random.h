// SPDX-License-Identifier: Apache-2.0
// Random numbers that are the same on every machine (the standard library's distributions are not).
#pragma once

#include <cstdint>

namespace halfpipe::schedule {

/// SplitMix64 (Steele, Lea, Flood 2014): small, fast, good enough to choose moves.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}

  std::uint64_t bits() {
    state_ += 0x9E3779B97F4A7C15U;
    std::uint64_t mixed = state_;
    mixed = (mixed ^ (mixed >> 30U)) * 0xBF58476D1CE4E5B9U;
    mixed = (mixed ^ (mixed >> 27U)) * 0x94D049BB133111EBU;
    return mixed ^ (mixed >> 31U);
  }
  /// In [0, 1).
  double uniform() {
    constexpr double kTwoToMinus53 = 1.0 / 9007199254740992.0;
    return static_cast<double>(bits() >> 11U) * kTwoToMinus53;
  }
  double between(double low, double high) { return low + (high - low) * uniform(); }
  /// In [0, count); count >= 1.
  std::uint64_t below(std::uint64_t count) {
    return static_cast<std::uint64_t>(uniform() * static_cast<double>(count));
  }
  bool chance(double probability) { return uniform() < probability; }

 private:
  std::uint64_t state_;
};

}  // namespace halfpipe::schedule
