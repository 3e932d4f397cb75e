// SPDX-License-Identifier: Apache-2.0
#include "engine/config/load_config.h"

#include "engine/config/hardware_profile.h"
#include "engine/config/key_table.h"
#include "engine/config/overrides.h"
#include "engine/config/read_short_file.h"
#include "engine/config/scalar_text.h"
#include "engine/config/unknown_key.h"
#include "engine/config/validate_config.h"
#include "engine/config/yaml_reader.h"
#include "kernels/core/error.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <map>

namespace halfpipe::config {
namespace {

/// Where each key that is set was set, by path.
using Places = std::map<std::string, std::string, std::less<>>;

void read_value(const Key& key, const YamlValue& value, RunConfig& config, Places& places) {
  if (value.kind == YamlValue::Kind::kNull && !key.null_is_unset) {
    throw ConfigError(fmt::format("{}: {} has no value; it needs one: {}", value.place,
                                  key.doc.path, key.doc.type));
  }
  key.read(config, value);
  places[key.doc.path] = value.place;
}

// "train.steps: 5" would spell the path of another key.
[[noreturn]] void refuse_dotted_name(const YamlValue& entry, const std::string& path) {
  throw ConfigError(fmt::format(
      "{}: {}: a name in a file has no dots; put the key below its section (--set takes dots)",
      entry.place, path));
}

void read_section(const YamlValue& section,
                  const std::string& section_path,
                  RunConfig& config,
                  Places& places) {
  if (section.kind == YamlValue::Kind::kNull) return;
  if (section.kind != YamlValue::Kind::kMap) {
    refuse(section, section_path, "a section of keys and values");
  }
  for (const YamlValue& entry : section.held) {
    const std::string path =
        section_path.empty() ? entry.name : fmt::format("{}.{}", section_path, entry.name);
    if (entry.name.find('.') != std::string::npos) refuse_dotted_name(entry, path);
    if (const Key* key = find_key_or_null(path); key != nullptr) {
      read_value(*key, entry, config, places);
    } else if (is_section(path)) {
      read_section(entry, path, config, places);
    } else {
      refuse_unknown_key(entry.place, path);
    }
  }
}

/// Settings of the command line come last, so they are what the message should name.
std::string place_of(const Violation& violation, const Places& places, std::string_view name) {
  std::string place;
  for (const std::string& key : violation.keys) {
    const auto found = places.find(key);
    if (found == places.end()) continue;
    if (found->second.starts_with("--set ")) return found->second;
    if (place.empty()) place = found->second;
  }
  return place.empty() ? std::string(name) : place;
}

/// A key that is given counts as set, its default included; null, where it is a value, says that
/// nothing is.
void check(const RunConfig& config,
           const Places& places,
           std::string_view name,
           std::span<const std::string> meant_anyway = {}) {
  auto violation = find_violation(config, meant_anyway);
  if (!violation) {
    violation = find_idle_key(config, [&](const Key& key) {
      const bool is_nothing = key.null_is_unset && key.write(config) == "null";
      const bool is_meant = std::ranges::find(meant_anyway, key.doc.path) != meant_anyway.end();
      return places.contains(key.doc.path) && !is_nothing && !is_meant;
    });
  }
  if (!violation) return;
  throw ConfigError(fmt::format("{}: {}", place_of(*violation, places, name), violation->sentence));
}

void reset(RunConfig& config, const Key& key) {
  YamlValue value;
  const bool is_null = key.null_is_unset && key.doc.default_value == "null";
  value.kind = is_null ? YamlValue::Kind::kNull : YamlValue::Kind::kScalar;
  value.text = key.doc.default_value;
  key.read(config, value);
}

void take_idle_keys_out(RunConfig& config) {
  for (const Key& key : key_table()) {
    if (key.applies && !key.applies(config)) reset(config, key);
  }
}

/// The command line may turn off what keys of the file go with: `--set train.evaluate_every=0` on a
/// file that has evaluate_batches, another schedule.name beside num_chunks.
void take_out_what_settings_turned_off(RunConfig& config,
                                       Places& places,
                                       std::span<const std::string> meant_anyway) {
  const auto is_setting = [&](const std::string& path) {
    const auto found = places.find(path);
    return found != places.end() && found->second.starts_with("--set ");
  };
  for (const Key& key : key_table()) {
    if (!key.applies || key.applies(config)) continue;
    if (std::ranges::find(meant_anyway, key.doc.path) != meant_anyway.end()) continue;
    if (std::ranges::none_of(key.decided_by, is_setting) || is_setting(key.doc.path)) continue;
    reset(config, key);
    places.erase(key.doc.path);
  }
}

HardwareProfile read_hardware(const std::string& file) {
  try {
    return load_hardware(file);
  } catch (const FileError& error) {
    throw ConfigError(fmt::format("device.hardware: {}", error.what()));
  }
}

}  // namespace

RunConfig load_config(const std::filesystem::path& file,
                      std::span<const std::string> overrides,
                      std::span<const std::string> meant_anyway) {
  return parse_config(read_short_file(file, "configuration"), file.string(), overrides,
                      meant_anyway);
}

RunConfig parse_config(std::string_view yaml_text,
                       std::string_view name_for_messages,
                       std::span<const std::string> overrides,
                       std::span<const std::string> meant_anyway) {
  YamlValue root = parse_yaml(yaml_text, {std::string(name_for_messages)});
  if (root.kind == YamlValue::Kind::kNull && overrides.empty()) {
    throw ConfigError(
        fmt::format("{}: is empty; a configuration names its data at least: "
                    "data: {{text: [FILE]}}",
                    name_for_messages));
  }
  if (root.kind == YamlValue::Kind::kScalar || root.kind == YamlValue::Kind::kList) {
    throw ConfigError(
        fmt::format("{}: a configuration is a map of sections (model:, data:, ...), "
                    "not {}",
                    root.place, root.kind == YamlValue::Kind::kList ? "a list" : "one value"));
  }
  apply_overrides(root, overrides);
  RunConfig config;
  Places places;
  read_section(root, "", config, places);
  take_out_what_settings_turned_off(config, places, meant_anyway);
  check(config, places, name_for_messages, meant_anyway);
  if (is_modelled(config.device)) config.device.profile = read_hardware(config.device.hardware);
  return config;
}

RunConfig without_idle_keys(RunConfig config) {
  take_idle_keys_out(config);
  return config;
}

RunConfig parse_saved_config(std::string_view yaml_text, std::string_view name_for_messages) {
  const YamlValue root = parse_yaml(yaml_text, {std::string(name_for_messages)});
  RunConfig config;
  Places places;
  read_section(root, "", config, places);
  take_idle_keys_out(config);
  check(config, {}, name_for_messages);
  return config;
}

}  // namespace halfpipe::config
