// SPDX-License-Identifier: Apache-2.0
// What CLI11's own checks let through: NaN, which no range excludes; whole numbers that do not fit,
// which it clamps; empty names.
#pragma once

#include <CLI/CLI.hpp>

namespace halfpipe::tools {

/// A number from low to high, both included.
[[nodiscard]] CLI::Validator number_from(double low, double high);
/// At least 0 and below 1.
[[nodiscard]] CLI::Validator fraction_below_one();
/// From 0 to 2^64 - 1.
[[nodiscard]] CLI::Validator whole_number_of_64_bits();
[[nodiscard]] CLI::Validator not_empty();

}  // namespace halfpipe::tools
