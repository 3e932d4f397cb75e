// SPDX-License-Identifier: Apache-2.0
// The exponential as straight-line arithmetic, so that the compiler vectorises the loops that call
// it (libm's expf is a call per element).
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

namespace halfpipe::cpu {

/// a * b + c, rounded once where the machine has the instruction. This folder is built with
/// -ffp-contract=off, so that a sum keeps its bits whatever surrounds it; kernels ask for the fused
/// form by name.
[[nodiscard]] inline float multiply_add(float a, float b, float c) {
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
  return std::fma(a, b, c);
#else
  return a * b + c;  // fma() would be a library call here
#endif
}

/// exp(x) = p 2^n, for |x| <= 89.
struct ExpParts {
  float p;
  std::int32_t n;
};

/// n = round(x / ln 2) and p = exp(r) with |r| <= ln(2) / 2; ln 2 comes in two parts, the first
/// short enough for n times it to be exact (Cody and Waite 1980, chapter 6). exp(r) is 1 + r + r^2
/// P(r), P interpolating at the Chebyshev nodes of the interval: relative error 1.0e-8.
[[nodiscard]] inline ExpParts exp_parts(float x) {
  constexpr float kLog2E = 1.44269504F;
  constexpr float kLn2High = 0.693359375F;  // 9 bits: n * kLn2High is exact
  constexpr float kLn2Low = -2.12194440e-4F;
  constexpr float kRoundToInteger = 12582912.0F;  // 1.5 * 2^23: a sum ends in round(x)'s bits

  const float shifted = multiply_add(x, kLog2E, kRoundToInteger);
  const float n = shifted - kRoundToInteger;
  const float r = multiply_add(n, -kLn2Low, multiply_add(n, -kLn2High, x));

  float p = 1.39262135e-3F;
  p = multiply_add(p, r, 8.36320297e-3F);
  p = multiply_add(p, r, 4.16665544e-2F);
  p = multiply_add(p, r, 1.66665768e-1F);
  p = multiply_add(p, r, 0.5F);
  p = multiply_add(p, r * r, r) + 1.0F;
  return {p, std::bit_cast<std::int32_t>(shifted) - std::bit_cast<std::int32_t>(kRoundToInteger)};
}

[[nodiscard]] inline float power_of_two(std::int32_t n) {  // -126 <= n <= 127
  return std::bit_cast<float>(static_cast<std::uint32_t>(n + 127) << 23);
}

/// exp(x), at most 1.1 ulp off; 0 below -87.33 (-inf included), inf above 88.73; NaN stays NaN. The
/// results that would be subnormal are 0 because a multiplication that makes one costs some 100
/// cycles on x86, and masked scores would do that all the time.
[[nodiscard]] inline float exp_approx(float x) {
  constexpr float kLowest = -87.33F;  // exp() leaves the normal numbers just below
  constexpr float kHighest = 89.0F;   // exp() is above the largest float

  const float clamped_below = x < kLowest ? kLowest : x;  // NaN compares false and stays
  const float clamped = clamped_below > kHighest ? kHighest : clamped_below;
  const ExpParts parts = exp_parts(clamped);
  // 2^n in two factors: n reaches 128, one exponent field holds -126 .. 127.
  const std::int32_t half = parts.n >> 1;
  const float result = parts.p * power_of_two(half) * power_of_two(parts.n - half);
  return x < kLowest ? 0.0F : result;
}

/// exp_approx(x), in fewer steps, for x <= 88.02, or NaN.
[[nodiscard]] inline float exp_below(float x) {
  constexpr float kLowest = -87.33F;
  const ExpParts parts = exp_parts(x < kLowest ? kLowest : x);
  const float result = parts.p * power_of_two(parts.n);
  return x < kLowest ? 0.0F : result;
}

/// The same for -87.33 <= x <= 88.02, or NaN: fewer still.
[[nodiscard]] inline float exp_in_range(float x) {
  const ExpParts parts = exp_parts(x);
  return parts.p * power_of_two(parts.n);
}

}  // namespace halfpipe::cpu
