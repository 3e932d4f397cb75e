// SPDX-License-Identifier: Apache-2.0
#include "engine/config/memory_limit.h"

#include <array>
#include <charconv>
#include <cmath>
#include <utility>

namespace halfpipe::config {
namespace {

struct Measure {
  std::string_view name;
  MemoryMeasure measure;
  double factor;
};

constexpr std::array kMeasures{
    Measure{"B", MemoryMeasure::kBytes, 1.0},      Measure{"KiB", MemoryMeasure::kBytes, 0x1p10},
    Measure{"MiB", MemoryMeasure::kBytes, 0x1p20}, Measure{"GiB", MemoryMeasure::kBytes, 0x1p30},
    Measure{"TiB", MemoryMeasure::kBytes, 0x1p40}, Measure{"unit", MemoryMeasure::kUnits, 1.0},
    Measure{"units", MemoryMeasure::kUnits, 1.0},  Measure{"%", MemoryMeasure::kShareOf1F1B, 0.01},
};

std::string_view without_spaces(std::string_view text) {
  while (text.starts_with(' ')) text.remove_prefix(1);
  while (text.ends_with(' ')) text.remove_suffix(1);
  return text;
}

}  // namespace

std::optional<MemoryLimit> parse_memory_limit(std::string_view text) {
  text = without_spaces(text);
  double amount = 0.0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), amount);
  if (error != std::errc{} || !std::isfinite(amount) || amount <= 0.0) return std::nullopt;
  const auto length = static_cast<std::size_t>(end - text.data());
  const std::string_view name = without_spaces(text.substr(length));
  for (const Measure& known : kMeasures) {
    if (known.name == name) return MemoryLimit{known.measure, amount * known.factor};
  }
  return std::nullopt;
}

}  // namespace halfpipe::config
