// SPDX-License-Identifier: Apache-2.0
// How users say how much memory a schedule's activations may take on a rank.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace halfpipe::config {

enum class MemoryMeasure : std::uint8_t {
  kBytes,
  kUnits,        // one micro-batch on 1/p of the model
  kShareOf1F1B,  // of what schedule 1f1b takes on its fullest rank; 1 is all of it
};

struct MemoryLimit {
  MemoryMeasure measure;
  double amount;

  friend bool operator==(const MemoryLimit&, const MemoryLimit&) = default;
};

/// The forms of schedule.memory_limit, for messages and documentation.
inline constexpr std::string_view kMemoryLimitForms =
    "a number with its measure: bytes (512 MiB; B, KiB, MiB, GiB, TiB), units (4.5 units) or a "
    "share of 1f1b's (60%)";

/// "512 MiB", "4.5 units", "60%"; spaces in between do not matter. Nothing for other text, and for
/// amounts that are not above 0.
[[nodiscard]] std::optional<MemoryLimit> parse_memory_limit(std::string_view text);

}  // namespace halfpipe::config
