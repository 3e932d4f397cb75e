// SPDX-License-Identifier: Apache-2.0
// Scalars of the configuration between their YAML text and their C++ values. Every refusal is a
// ConfigError of the form `run.yaml:12: train.steps (abc) must be a whole number`.
#pragma once

#include "engine/config/yaml_value.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace halfpipe::config {

/// How a message shows a value: its text (shortened, printable), "null", "a list" or "a section".
[[nodiscard]] std::string describe(const YamlValue& value);

/// Throws: `path` has `value` and must be something else.
[[noreturn]] void refuse(const YamlValue& value, std::string_view path, std::string_view must_be);

/// Decimal digits with an optional sign. `range_rule` is what a number that T cannot hold breaks.
/// Defined for int, std::int64_t and std::uint64_t.
template <class T>
[[nodiscard]] T to_whole_number(const YamlValue& value,
                                std::string_view path,
                                std::string_view range_rule);
/// Decimal, with or without fraction and exponent; finite.
[[nodiscard]] double to_real_number(const YamlValue& value, std::string_view path);
/// true or false, in YAML's three spellings.
[[nodiscard]] bool to_bool(const YamlValue& value, std::string_view path);
/// Any scalar but null: neither empty nor with control characters.
[[nodiscard]] std::string to_text(const YamlValue& value, std::string_view path);

/// Plain where YAML reads it back as the same text, otherwise in double quotes.
[[nodiscard]] std::string quote_if_needed(std::string_view text);

}  // namespace halfpipe::config
