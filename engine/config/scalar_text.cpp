// SPDX-License-Identifier: Apache-2.0
#include "engine/config/scalar_text.h"

#include "kernels/core/error.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <system_error>

namespace halfpipe::config {
namespace {

bool is_control(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte < 0x20 || byte == 0x7F;
}

bool is_plain_scalar(const YamlValue& value) {
  return value.kind == YamlValue::Kind::kScalar && !value.quoted;
}

// std::from_chars takes no plus sign.
std::string_view without_plus(std::string_view text) {
  if (text.size() > 1 && text[0] == '+' && text[1] != '-') text.remove_prefix(1);
  return text;
}

}  // namespace

std::string describe(const YamlValue& value) {
  switch (value.kind) {
    case YamlValue::Kind::kNull:
      return "null";
    case YamlValue::Kind::kList:
      return "a list";
    case YamlValue::Kind::kMap:
      return "a section";
    case YamlValue::Kind::kScalar:
      break;
  }
  constexpr std::size_t kLongest = 80;
  std::string text = value.text.substr(0, kLongest);
  std::replace_if(text.begin(), text.end(), is_control, '?');
  if (value.text.size() > kLongest) text += "...";
  return value.quoted ? '"' + text + '"' : text;
}

void refuse(const YamlValue& value, std::string_view path, std::string_view must_be) {
  throw ConfigError(
      fmt::format("{}: {} ({}) must be {}", value.place, path, describe(value), must_be));
}

template <class T>
T to_whole_number(const YamlValue& value, std::string_view path, std::string_view range_rule) {
  const std::string_view text = without_plus(value.text);
  const std::string_view digits = text.substr(!text.empty() && text[0] == '-' ? 1 : 0);
  const bool whole = is_plain_scalar(value) && !digits.empty() &&
                     digits.find_first_not_of("0123456789") == std::string_view::npos;
  if (!whole) refuse(value, path, "a whole number");
  T number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{}) refuse(value, path, range_rule);
  return number;
}

template int to_whole_number<int>(const YamlValue&, std::string_view, std::string_view);
template std::int64_t to_whole_number<std::int64_t>(const YamlValue&,
                                                    std::string_view,
                                                    std::string_view);
template std::uint64_t to_whole_number<std::uint64_t>(const YamlValue&,
                                                      std::string_view,
                                                      std::string_view);

double to_real_number(const YamlValue& value, std::string_view path) {
  const std::string_view text = without_plus(value.text);
  double number = 0.0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool whole_text = end == text.data() + text.size();
  if (!is_plain_scalar(value) || !whole_text || error == std::errc::invalid_argument) {
    refuse(value, path, "a number");
  }
  if (error != std::errc{} || !std::isfinite(number)) {
    refuse(value, path, "a finite number that a double can hold");
  }
  return number;
}

bool to_bool(const YamlValue& value, std::string_view path) {
  if (is_plain_scalar(value)) {
    if (value.text == "true" || value.text == "True" || value.text == "TRUE") return true;
    if (value.text == "false" || value.text == "False" || value.text == "FALSE") return false;
  }
  refuse(value, path, "true or false");
}

std::string to_text(const YamlValue& value, std::string_view path) {
  if (value.kind != YamlValue::Kind::kScalar) refuse(value, path, "text");
  if (value.text.empty()) refuse(value, path, "text that is not empty");
  if (std::any_of(value.text.begin(), value.text.end(), is_control)) {
    refuse(value, path, "text without control characters");
  }
  return value.text;
}

std::string quote_if_needed(std::string_view text) {
  constexpr std::string_view kPlain =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./+-";
  const bool null = text == "null" || text == "Null" || text == "NULL";
  if (!text.empty() && text[0] != '-' && !null &&
      text.find_first_not_of(kPlain) == std::string_view::npos) {
    return std::string(text);
  }
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + '"';
}

}  // namespace halfpipe::config
