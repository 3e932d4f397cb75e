// SPDX-License-Identifier: Apache-2.0
#include "engine/config/config_to_yaml.h"

#include "engine/config/key_table.h"

#include <string_view>
#include <vector>

namespace halfpipe::config {
namespace {

std::vector<std::string_view> split(std::string_view path) {
  std::vector<std::string_view> parts;
  for (std::size_t dot = path.find('.'); dot != std::string_view::npos; dot = path.find('.')) {
    parts.push_back(path.substr(0, dot));
    path.remove_prefix(dot + 1);
  }
  parts.push_back(path);
  return parts;
}

}  // namespace

std::string to_yaml(const RunConfig& config) {
  std::string yaml;
  std::vector<std::string_view> open;  // the sections that the line before stands in
  for (const Key& key : key_table()) {
    if (key.applies && !key.applies(config)) continue;
    std::vector<std::string_view> sections = split(key.doc.path);
    const std::string_view name = sections.back();
    sections.pop_back();
    bool same_so_far = true;
    for (std::size_t depth = 0; depth < sections.size(); ++depth) {
      same_so_far = same_so_far && depth < open.size() && open[depth] == sections[depth];
      if (!same_so_far) yaml += std::string(2 * depth, ' ').append(sections[depth]) + ":\n";
    }
    yaml += std::string(2 * sections.size(), ' ').append(name) + ": " + key.write(config) + "\n";
    open = sections;
  }
  return yaml;
}

std::string to_section_lines(const RunConfig& config) {
  constexpr std::size_t kNameWidth = 12;
  std::string lines;
  std::string_view open;
  for (const Key& key : key_table()) {
    if (key.applies && !key.applies(config)) continue;
    const std::string_view path = key.doc.path;
    const std::string_view section = path.substr(0, path.find('.'));
    if (section == open) {
      lines += ", ";
    } else {
      if (!open.empty()) lines += '\n';
      std::string name(section);
      name.resize(kNameWidth, ' ');
      lines += "  " + name;
    }
    lines.append(path.substr(section.size() + 1)).append(": ").append(key.write(config));
    open = section;
  }
  return lines + "\n";
}

}  // namespace halfpipe::config
