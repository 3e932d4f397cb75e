// SPDX-License-Identifier: Apache-2.0
#include "engine/config/unknown_key.h"

#include "engine/config/key_table.h"
#include "engine/config/nearest_name.h"
#include "kernels/core/error.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace halfpipe::config {
namespace {

struct Split {
  std::string section;  // "" at the top
  std::string name;
};

Split split(std::string_view path) {
  const std::size_t dot = path.rfind('.');
  if (dot == std::string_view::npos) return {"", std::string(path)};
  return {std::string(path.substr(0, dot)), std::string(path.substr(dot + 1))};
}

std::string join(const std::string& section, const std::string& name) {
  return section.empty() ? name : section + "." + name;
}

/// What may stand directly in that section; nothing when there is no such section.
std::vector<std::string> names_in(const std::string& section) {
  if (section.empty()) return section_names();
  std::vector<std::string> names;
  for (const Key& key : key_table()) {
    if (!key.doc.path.starts_with(section + ".")) continue;
    const std::string rest = key.doc.path.substr(section.size() + 1);
    std::string name = rest.substr(0, rest.find('.'));
    if (names.empty() || names.back() != name) names.push_back(std::move(name));
  }
  return names;
}

/// The keys whose name, without its section, is `name`.
std::vector<std::string> paths_named(const std::string& name) {
  std::vector<std::string> paths;
  for (const Key& key : key_table()) {
    if (split(key.doc.path).name == name) paths.push_back(key.doc.path);
  }
  return paths;
}

/// Of those, the one whose section is most like that of `path`.
std::optional<std::string> most_alike(std::string_view path,
                                      const std::vector<std::string>& paths) {
  const auto nearest =
      std::min_element(paths.begin(), paths.end(), [&](const auto& a, const auto& b) {
        return edit_distance(path, a) < edit_distance(path, b);
      });
  if (nearest == paths.end()) return std::nullopt;
  return *nearest;
}

/// In this order: misspelt in its own section; right, but in the wrong section or in none;
/// misspelt and in the wrong section.
std::optional<std::string> suggestion(std::string_view path) {
  const Split wrong = split(path);
  if (const auto name = nearest_name(wrong.name, names_in(wrong.section))) {
    return join(wrong.section, *name);
  }
  if (auto elsewhere = most_alike(path, paths_named(wrong.name))) return elsewhere;
  std::vector<std::string> names;
  for (const Key& key : key_table()) names.push_back(split(key.doc.path).name);
  const auto name = nearest_name(wrong.name, names);
  return name ? most_alike(path, paths_named(*name)) : std::nullopt;
}

}  // namespace

void refuse_unknown_key(std::string_view place, std::string_view path) {
  std::string hint;
  if (const auto nearest = suggestion(path)) {
    hint = fmt::format("did you mean {}?", *nearest);
  } else {
    const std::string section = split(path).section;
    const std::string here = names_in(section).empty() ? "" : section;
    hint = here.empty() ? "the sections are " : "section " + here + " has ";
    hint += fmt::format("{}", fmt::join(names_in(here), ", "));
  }
  throw ConfigError(fmt::format("{}: {}: unknown key; {}", place, path, hint));
}

}  // namespace halfpipe::config
