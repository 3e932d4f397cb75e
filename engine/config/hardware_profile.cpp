// SPDX-License-Identifier: Apache-2.0
#include "engine/config/hardware_profile.h"

#include "engine/config/memory_limit.h"
#include "engine/config/nearest_name.h"
#include "engine/config/read_short_file.h"
#include "engine/config/scalar_text.h"
#include "engine/config/yaml_reader.h"
#include "kernels/core/error.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <optional>
#include <vector>

namespace halfpipe::config {
namespace {

constexpr int kMostRanksPerMachine = 1 << 20;

/// The entries of one map, each to be taken once; what is left over at the end is unknown.
class Section {
 public:
  Section(const YamlValue& map, std::string path, std::string_view file)
      : map_(map), path_(std::move(path)), file_(file) {
    if (map.kind != YamlValue::Kind::kMap) {
      refuse(map, path_.empty() ? "a hardware profile" : path_, "a map of keys and values");
    }
  }

  [[nodiscard]] const YamlValue& take(const std::string& name) {
    known_.push_back(name);
    const auto found = std::ranges::find(map_.held, name, &YamlValue::name);
    if (found == map_.held.end()) {
      throw ConfigError(fmt::format("{}: {} is missing; a hardware profile needs it",
                                    map_.place.empty() ? file_ : map_.place, path_of(name)));
    }
    return *found;
  }
  [[nodiscard]] Section section(const std::string& name) {
    return {take(name), path_of(name), file_};
  }
  /// Above 0, or at least 0.
  [[nodiscard]] double number(const std::string& name, bool zero_allowed = false) {
    const YamlValue& value = take(name);
    const double number = to_real_number(value, path_of(name));
    if (number > 0.0 || (zero_allowed && number == 0.0)) return number;
    refuse(value, path_of(name), zero_allowed ? "at least 0" : "above 0");
  }
  [[nodiscard]] double share(const std::string& name) {
    const YamlValue& value = take(name);
    const double number = to_real_number(value, path_of(name));
    if (number > 0.0 && number <= 1.0) return number;
    refuse(value, path_of(name), "above 0 and at most 1");
  }
  [[nodiscard]] std::string path_of(const std::string& name) const {
    return path_.empty() ? name : path_ + "." + name;
  }
  void refuse_the_rest() const {
    for (const YamlValue& entry : map_.held) {
      if (std::ranges::find(known_, entry.name) != known_.end()) continue;
      const auto nearest = nearest_name(entry.name, known_);
      throw ConfigError(fmt::format(
          "{}: {}: a hardware profile has no such key; {}", entry.place, path_of(entry.name),
          nearest ? fmt::format("did you mean {}?", *nearest)
                  : fmt::format("known are {}", fmt::join(known_, ", "))));
    }
  }

 private:
  const YamlValue& map_;
  std::string path_;
  std::string file_;
  std::vector<std::string> known_;
};

Rate read_rate(Section section, const std::string& name) {
  const Rate rate{section.number(name), section.share("efficiency")};
  section.refuse_the_rest();
  return rate;
}

HardwareLink read_link(Section section) {
  HardwareLink link;
  link.latency_seconds = section.number("latency_seconds", /*zero_allowed=*/true);
  link.bytes = {section.number("bytes_per_second"), section.share("efficiency")};
  section.refuse_the_rest();
  return link;
}

std::int64_t read_bytes(const YamlValue& value, const std::string& path) {
  const std::optional<MemoryLimit> limit = parse_memory_limit(to_text(value, path));
  constexpr double kMost = 0x1p62;
  if (limit && limit->measure == MemoryMeasure::kBytes && limit->amount <= kMost) {
    return static_cast<std::int64_t>(limit->amount);
  }
  refuse(value, path, "an amount of memory, as 80 GiB");
}

}  // namespace

HardwareProfile load_hardware(const std::filesystem::path& file) {
  return parse_hardware(read_short_file(file, "hardware profile"), file.string());
}

HardwareProfile parse_hardware(std::string_view yaml_text, std::string_view name_for_messages) {
  const YamlValue root = parse_yaml(yaml_text, {std::string(name_for_messages)});
  Section top(root, "", name_for_messages);
  HardwareProfile profile;
  profile.name = to_text(top.take("name"), "name");
  profile.memory_bytes = read_bytes(top.take("memory"), "memory");
  profile.memory = read_rate(top.section("memory_rate"), "bytes_per_second");
  profile.float32 = read_rate(top.section("float32"), "flops_per_second");
  profile.bf16 = read_rate(top.section("bf16"), "flops_per_second");
  profile.op_seconds = top.number("op_seconds", /*zero_allowed=*/true);
  const YamlValue& ranks = top.take("ranks_per_machine");
  const std::string rule = fmt::format("from 1 to {}", kMostRanksPerMachine);
  profile.ranks_per_machine = to_whole_number<int>(ranks, "ranks_per_machine", rule);
  if (profile.ranks_per_machine < 1 || profile.ranks_per_machine > kMostRanksPerMachine) {
    refuse(ranks, "ranks_per_machine", rule);
  }
  profile.within_machine = read_link(top.section("within_machine"));
  profile.between_machines = read_link(top.section("between_machines"));
  top.refuse_the_rest();
  return profile;
}

}  // namespace halfpipe::config
