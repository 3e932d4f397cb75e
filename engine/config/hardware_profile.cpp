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
// Beyond any machine; what is computed from them stays far from the ends of a double and of a
// clock.
constexpr double kLeastRate = 1.0;
constexpr double kMostRate = 1e21;
constexpr double kLeastEfficiency = 1e-6;
constexpr double kMostSeconds = 3600.0;

/// The entries of one map: those of `known`, all of them and no others.
class Section {
 public:
  Section(const YamlValue& map,
          std::string path,
          std::string_view file,
          std::vector<std::string> known)
      : map_(map), path_(std::move(path)), file_(file), known_(std::move(known)) {
    if (map.kind != YamlValue::Kind::kMap) {
      refuse(map, path_.empty() ? "a hardware profile" : path_, "a map of keys and values");
    }
    // Before anything is missed: a name with a slip in it is the likelier mistake.
    refuse_unknown();
  }

  [[nodiscard]] const YamlValue& take(const std::string& name) const {
    const auto found = std::ranges::find(map_.held, name, &YamlValue::name);
    if (found == map_.held.end()) {
      throw ConfigError(fmt::format("{}: {} is missing; a hardware profile needs it",
                                    map_.place.empty() ? file_ : map_.place, path_of(name)));
    }
    return *found;
  }
  [[nodiscard]] Section section(const std::string& name, std::vector<std::string> known) const {
    return {take(name), path_of(name), file_, std::move(known)};
  }
  [[nodiscard]] double number(const std::string& name, double low, double high) const {
    const YamlValue& value = take(name);
    const double number = to_real_number(value, path_of(name));
    if (number >= low && number <= high) return number;
    refuse(value, path_of(name), fmt::format("from {} to {}", low, high));
  }
  [[nodiscard]] std::string path_of(const std::string& name) const {
    return path_.empty() ? name : path_ + "." + name;
  }

 private:
  void refuse_unknown() const {
    for (const YamlValue& entry : map_.held) {
      if (std::ranges::find(known_, entry.name) != known_.end()) continue;
      const auto nearest = nearest_name(entry.name, known_);
      throw ConfigError(fmt::format(
          "{}: {}: a hardware profile has no such key; {}", entry.place, path_of(entry.name),
          nearest ? fmt::format("did you mean {}?", *nearest)
                  : fmt::format("known are {}", fmt::join(known_, ", "))));
    }
  }

  const YamlValue& map_;
  std::string path_;
  std::string file_;
  std::vector<std::string> known_;
};

Rate rate_in(const Section& section, const std::string& name) {
  return {section.number(name, kLeastRate, kMostRate),
          section.number("efficiency", kLeastEfficiency, 1.0)};
}

Rate read_rate(const Section& top, const std::string& section, const std::string& name) {
  return rate_in(top.section(section, {name, "efficiency"}), name);
}

HardwareLink read_link(const Section& top, const std::string& name) {
  const Section section = top.section(name, {"latency_seconds", "bytes_per_second", "efficiency"});
  return {section.number("latency_seconds", 0.0, kMostSeconds),
          rate_in(section, "bytes_per_second")};
}

std::int64_t read_bytes(const YamlValue& value, const std::string& path) {
  const std::optional<MemoryLimit> limit = parse_memory_limit(to_text(value, path));
  constexpr double kMost = 0x1p62;
  if (limit && limit->measure == MemoryMeasure::kBytes && limit->amount >= 1.0 &&
      limit->amount <= kMost) {
    return static_cast<std::int64_t>(limit->amount);
  }
  refuse(value, path, "an amount of memory, as 80 GiB");
}

}  // namespace

std::string to_text(const HardwareProfile& profile) {
  const auto rate = [](const Rate& r) { return fmt::format("{} x {}", r.peak, r.efficiency); };
  const auto link = [&](const HardwareLink& l) {
    return fmt::format("{} s + {}", l.latency_seconds, rate(l.bytes));
  };
  return fmt::format("{}: {} B, {}, {}, {} ({}), {} s, {} s, {} ranks, {}, {}", profile.name,
                     profile.memory_bytes, rate(profile.memory), rate(profile.float32),
                     rate(profile.bf16), profile.attention_share, profile.op_seconds,
                     profile.product_seconds, profile.ranks_per_machine,
                     link(profile.within_machine), link(profile.between_machines));
}

HardwareProfile load_hardware(const std::filesystem::path& file) {
  return parse_hardware(read_short_file(file, "hardware profile"), file.string());
}

HardwareProfile parse_hardware(std::string_view yaml_text, std::string_view name_for_messages) {
  const YamlValue root = parse_yaml(yaml_text, {std::string(name_for_messages)});
  const Section top(root, "", name_for_messages,
                    {"name", "memory", "memory_rate", "float32", "bf16", "attention", "op_seconds",
                     "product_seconds", "ranks_per_machine", "within_machine", "between_machines"});
  HardwareProfile profile;
  profile.name = to_text(top.take("name"), "name");
  profile.memory_bytes = read_bytes(top.take("memory"), "memory");
  profile.memory = read_rate(top, "memory_rate", "bytes_per_second");
  profile.float32 = read_rate(top, "float32", "flops_per_second");
  profile.bf16 = read_rate(top, "bf16", "flops_per_second");
  profile.attention_share = top.number("attention", kLeastEfficiency, 1.0);
  profile.op_seconds = top.number("op_seconds", 0.0, kMostSeconds);
  profile.product_seconds = top.number("product_seconds", 0.0, kMostSeconds);
  const YamlValue& ranks = top.take("ranks_per_machine");
  const std::string rule = fmt::format("from 1 to {}", kMostRanksPerMachine);
  profile.ranks_per_machine = to_whole_number<int>(ranks, "ranks_per_machine", rule);
  if (profile.ranks_per_machine < 1 || profile.ranks_per_machine > kMostRanksPerMachine) {
    refuse(ranks, "ranks_per_machine", rule);
  }
  profile.within_machine = read_link(top, "within_machine");
  profile.between_machines = read_link(top, "between_machines");
  return profile;
}

}  // namespace halfpipe::config
