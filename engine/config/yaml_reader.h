// SPDX-License-Identifier: Apache-2.0
// Text to YamlValue, through yaml-cpp; the one file of the project that includes that library.
#pragma once

#include "engine/config/yaml_value.h"

#include <string>
#include <string_view>

namespace halfpipe::config {

/// Which places the values get: `name:line`, or `name` alone.
struct YamlSource {
  std::string name;
  bool with_lines = true;
};

/// Reads the single document in `text`; an empty text is a kNull value. Throws ConfigError, with
/// the line, for broken YAML, tabs as indentation, control characters, a key written twice in one
/// map, and what configurations do without: anchors, aliases, tags, a second document, quoted text
/// of several lines (a quote left open would look the same).
YamlValue parse_yaml(std::string_view text, const YamlSource& source);

}  // namespace halfpipe::config
