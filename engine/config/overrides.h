// SPDX-License-Identifier: Apache-2.0
// Settings of the command line (`--set section.key=value`) put into a configuration's tree.
#pragma once

#include "engine/config/yaml_value.h"

#include <span>
#include <string>

namespace halfpipe::config {

/// Replaces or adds every key named; the last of equal ones wins. A value is taken as it is (so a
/// glob needs no YAML quotes), except that one beginning with [ { " or ' is read as YAML; `null`
/// takes the key, or the whole section, out of the tree, back to its default. `root` is a map or
/// kNull. Throws ConfigError naming the setting.
void apply_overrides(YamlValue& root, std::span<const std::string> overrides);

}  // namespace halfpipe::config
