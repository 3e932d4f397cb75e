// SPDX-License-Identifier: Apache-2.0
// Gradients of float64 references by central differences: the proof that a backward reference is
// the derivative of its forward reference.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

namespace halfpipe::testing {

/// Ten times the error that the step below leaves for values around 1.
inline constexpr double kCentralDifferenceTolerance = 1e-8;

/// d/dx[i] of sum_j dout[j] * function(x)[j], for every i. The step of 1e-5 balances the method's
/// error (step^2 = 1e-10, times the third derivative) against rounding (1e-16 / step = 1e-11).
template <typename Function>
std::vector<double> central_differences(const Function& function,
                                        std::vector<double> x,
                                        const std::vector<double>& dout) {
  constexpr double kStep = 1e-5;
  std::vector<double> gradient(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double value = x[i];
    x[i] = value + kStep;
    const std::vector<double> above = function(x);
    x[i] = value - kStep;
    const std::vector<double> below = function(x);
    x[i] = value;
    for (std::size_t j = 0; j < dout.size(); ++j) {
      gradient[i] += dout[j] * (above[j] - below[j]) / (2.0 * kStep);
    }
  }
  return gradient;
}

/// The largest difference between an element and its central difference, relative to the largest
/// gradient.
inline double largest_difference(const std::vector<double>& a, const std::vector<double>& b) {
  double difference = 0.0;
  double largest = 1e-300;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference = std::max(difference, std::abs(a[i] - b[i]));
    largest = std::max(largest, std::abs(b[i]));
  }
  return difference / largest;
}

}  // namespace halfpipe::testing
