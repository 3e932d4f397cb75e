// SPDX-License-Identifier: Apache-2.0
#include "tools/halfpipe/option_checks.h"

#include <fmt/format.h>

#include <charconv>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>

namespace halfpipe::tools {

namespace {

/// All of `text` as a number; absent where it is none or does not fit.
template <class T>
std::optional<T> number_in(const std::string& text) {
  T number{};
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc{} || stop != end) return std::nullopt;
  return number;
}

/// CLI11 prints the name of the option, then what this says.
CLI::Validator check_that(const std::string& rule,
                          const std::function<bool(const std::string&)>& holds) {
  return {[=](std::string& text) {
            return holds(text) ? std::string() : fmt::format("({}) must be {}", text, rule);
          },
          ""};
}

}  // namespace

CLI::Validator number_from(double low, double high) {
  return check_that(fmt::format("a number from {} to {}", low, high), [=](const std::string& text) {
    const auto number = number_in<double>(text);
    return number && *number >= low && *number <= high;  // false for NaN
  });
}

CLI::Validator fraction_below_one() {
  return check_that("a number of at least 0 and below 1", [](const std::string& text) {
    const auto number = number_in<double>(text);
    return number && *number >= 0.0 && *number < 1.0;
  });
}

CLI::Validator whole_number_of_64_bits() {
  const std::uint64_t largest = std::numeric_limits<std::uint64_t>::max();
  return check_that(
      fmt::format("a whole number from 0 to {}", largest),
      [](const std::string& text) { return number_in<std::uint64_t>(text).has_value(); });
}

CLI::Validator not_empty() {
  return check_that("a name", [](const std::string& text) { return !text.empty(); });
}

}  // namespace halfpipe::tools
