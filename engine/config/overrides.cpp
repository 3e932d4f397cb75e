// SPDX-License-Identifier: Apache-2.0
#include "engine/config/overrides.h"

#include "engine/config/key_table.h"
#include "engine/config/scalar_text.h"
#include "engine/config/unknown_key.h"
#include "engine/config/yaml_reader.h"
#include "kernels/core/error.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <utility>

namespace halfpipe::config {
namespace {

YamlValue value_of(std::string_view text, const std::string& place) {
  if (!text.empty() && std::string_view("[{\"'").find(text[0]) != std::string_view::npos) {
    return parse_yaml(text, {place, /*with_lines=*/false});
  }
  YamlValue value;
  value.place = place;
  if (text == "null" || text == "~") return value;
  value.kind = YamlValue::Kind::kScalar;
  value.text = text;
  return value;
}

auto find_entry(YamlValue& map, std::string_view name) {
  return std::find_if(map.held.begin(), map.held.end(),
                      [&](const YamlValue& entry) { return entry.name == name; });
}

/// Removes the entry at `path`, if it is there.
void take_out(YamlValue& map, std::string_view path) {
  const std::size_t dot = path.find('.');
  const auto entry = find_entry(map, path.substr(0, dot));
  if (entry == map.held.end()) return;
  if (dot == std::string_view::npos) {
    map.held.erase(entry);
  } else {
    take_out(*entry, path.substr(dot + 1));
  }
}

/// Puts `value` at `path` below `map`, whose own path is `map_path`, making sections on the way.
void put_in(YamlValue& map, std::string_view map_path, std::string_view path, YamlValue value) {
  if (map.kind == YamlValue::Kind::kNull) map.kind = YamlValue::Kind::kMap;
  if (map.kind != YamlValue::Kind::kMap) refuse(map, map_path, "a section of keys and values");
  const std::size_t dot = path.find('.');
  const std::string name(path.substr(0, dot));
  auto entry = find_entry(map, name);
  if (entry == map.held.end()) {
    map.held.emplace_back();
    entry = map.held.end() - 1;
    entry->name = name;
    entry->place = value.place;
  }
  if (dot == std::string_view::npos) {
    value.name = name;
    *entry = std::move(value);
    return;
  }
  const std::string below = map_path.empty() ? name : fmt::format("{}.{}", map_path, name);
  put_in(*entry, below, path.substr(dot + 1), std::move(value));
}

}  // namespace

void apply_overrides(YamlValue& root, std::span<const std::string> overrides) {
  for (const std::string& setting : overrides) {
    const std::string place = "--set " + setting;
    const std::size_t equals = setting.find('=');
    if (equals == std::string::npos) {
      throw ConfigError(fmt::format("{}: needs the form section.key=value", place));
    }
    const std::string_view path = std::string_view(setting).substr(0, equals);
    if (find_key_or_null(path) == nullptr && !is_section(path)) refuse_unknown_key(place, path);
    YamlValue value = value_of(std::string_view(setting).substr(equals + 1), place);
    if (value.kind == YamlValue::Kind::kNull) {
      take_out(root, path);
    } else {
      put_in(root, "", path, std::move(value));
    }
  }
}

}  // namespace halfpipe::config
