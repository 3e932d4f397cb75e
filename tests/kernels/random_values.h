// SPDX-License-Identifier: Apache-2.0
// Inputs of kernel tests: the same on every run and machine.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "kernels/core/philox.h"

namespace halfpipe::testing {

/// Standard normal values times `deviation`, plus `mean`. Each name is a sequence of its own.
inline std::vector<float> random_values(std::string_view name,
                                        std::int64_t count,
                                        double deviation = 1.0,
                                        double mean = 0.0) {
  const std::uint64_t key = hash_name(name);
  std::vector<float> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto words = philox(key, i);
    values[i] = static_cast<float>(mean + deviation * standard_normal(words[0], words[1]));
  }
  return values;
}

/// Uniform in 0 .. bound - 1.
inline std::vector<std::int32_t> random_indices(std::string_view name,
                                                std::int64_t count,
                                                std::int64_t bound) {
  const std::uint64_t key = hash_name(name);
  std::vector<std::int32_t> indices(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < indices.size(); ++i) {
    const double at = uniform_open(philox(key, i)[0]) * static_cast<double>(bound);
    indices[i] = static_cast<std::int32_t>(at);
  }
  return indices;
}

inline std::vector<double> to_float64(const std::vector<float>& values) {
  return {values.begin(), values.end()};
}

}  // namespace halfpipe::testing
