// SPDX-License-Identifier: Apache-2.0
// How the result of a kernel is held against a float64 reference, or against another run of itself.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <limits>
#include <span>
#include <vector>

#include "kernels/core/bfloat16.h"

namespace halfpipe::testing {

/// ||actual - expected|| / ||expected|| (or ||actual|| where expected is all zero). Infinities and
/// NaN must stand in the same places, with the same sign; they are left out of the norms. If they
/// do not, the error is infinite.
inline double normalised_error(std::span<const float> actual, std::span<const double> expected) {
  constexpr double kInfinite = std::numeric_limits<double>::infinity();
  if (actual.size() != expected.size()) return kInfinite;
  double difference = 0.0;
  double norm = 0.0;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    const double a = actual[i];
    const double b = expected[i];
    if (std::isnan(a) || std::isnan(b)) {
      if (std::isnan(a) != std::isnan(b)) return kInfinite;
      continue;
    }
    if (std::isinf(a) || std::isinf(b)) {
      if (a != b) return kInfinite;
      continue;
    }
    difference += (a - b) * (a - b);
    norm += b * b;
  }
  return norm > 0.0 ? std::sqrt(difference / norm) : std::sqrt(difference);
}

inline ::testing::AssertionResult near_reference(std::span<const float> actual,
                                                 std::span<const double> expected,
                                                 double tolerance) {
  const double error = normalised_error(actual, expected);
  if (error <= tolerance) return ::testing::AssertionSuccess();
  auto failure = ::testing::AssertionFailure()
                 << "normalised error " << error << " is above " << tolerance << " ("
                 << actual.size() << " against " << expected.size() << " elements)";
  for (std::size_t i = 0; i < std::min(actual.size(), expected.size()); ++i) {
    if (std::abs(actual[i] - expected[i]) <= tolerance * std::abs(expected[i])) continue;
    return failure << "; first at [" << i << "]: " << actual[i] << " against " << expected[i];
  }
  return failure;
}

/// Half a unit in the last of bfloat16's 8 places: what rounding to it changes at most.
inline constexpr double kBFloat16Rounding = 1.0 / 256;

/// Whether values of bfloat16 are the reference rounded once. A result near the middle between two
/// of them may go to the other one: its float32 error of some 1e-6 is less than 1 / 1000 of their
/// distance, unless terms cancel, which few do. A second rounding would change a third of all.
inline ::testing::AssertionResult rounded_once(std::span<const float> actual,
                                               std::span<const double> expected) {
  constexpr double kMaxOtherwiseRounded = 0.005;
  if (actual.size() != expected.size()) return ::testing::AssertionFailure() << "sizes differ";
  std::size_t num_different = 0;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    const float rounded = to_float(to_bfloat16(static_cast<float>(expected[i])));
    if (actual[i] != rounded) ++num_different;
  }
  const double allowed = 1.0 + kMaxOtherwiseRounded * static_cast<double>(actual.size());
  if (static_cast<double>(num_different) <= allowed) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << num_different << " of " << actual.size()
                                       << " elements are not the reference rounded once";
}

/// Equal as bytes: -0 differs from 0, and a NaN equals itself.
template <typename T>
::testing::AssertionResult same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  if (a.size() != b.size()) return ::testing::AssertionFailure() << "sizes differ";
  for (std::size_t i = 0; i < a.size(); ++i) {
    // NOLINTNEXTLINE(bugprone-suspicious-memory-comparison): bits are what is compared
    if (std::memcmp(&a[i], &b[i], sizeof(T)) == 0) continue;
    return ::testing::AssertionFailure()
           << "bits differ at [" << i << "]: " << a[i] << " and " << b[i];
  }
  return ::testing::AssertionSuccess();
}

}  // namespace halfpipe::testing
