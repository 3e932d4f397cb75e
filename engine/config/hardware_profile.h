// SPDX-License-Identifier: Apache-2.0
// What a machine that may not be there can do, as a YAML file of configs/hardware/ says.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace halfpipe::config {

/// A rate of the data sheet, and what programs reach of it.
struct Rate {
  double peak = 0.0;        // per second
  double efficiency = 1.0;  // from 1e-6 to 1
  [[nodiscard]] double reached() const { return peak * efficiency; }
  friend bool operator==(const Rate&, const Rate&) = default;
};

/// Between two ranks, each way.
struct HardwareLink {
  double latency_seconds = 0.0;
  Rate bytes;
  friend bool operator==(const HardwareLink&, const HardwareLink&) = default;
};

/// One rank has one device.
struct HardwareProfile {
  std::string name;
  std::int64_t memory_bytes = 0;
  Rate memory;                   // bytes
  Rate float32;                  // floating-point operations of matrix products
  Rate bf16;                     // the same
  double attention_share = 1.0;  // of what products reach, that attention does: from 1e-6 to 1
  double op_seconds = 0.0;       // that every operation takes beside its work
  double product_seconds = 0.0;  // that every matrix product takes beside those
  int ranks_per_machine = 1;
  HardwareLink within_machine;
  HardwareLink between_machines;
  friend bool operator==(const HardwareProfile&, const HardwareProfile&) = default;
};

/// Every figure as text: two profiles say the same if and only if these are equal.
[[nodiscard]] std::string to_text(const HardwareProfile& profile);

/// Throws FileError when the file cannot be read, and ConfigError that begins with file and line
/// for a key that is missing, unknown, or has a value that breaks its rule.
[[nodiscard]] HardwareProfile load_hardware(const std::filesystem::path& file);
/// The same for a text; `name_for_messages` stands for the file.
[[nodiscard]] HardwareProfile parse_hardware(std::string_view yaml_text,
                                             std::string_view name_for_messages);

}  // namespace halfpipe::config
