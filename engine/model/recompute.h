// SPDX-License-Identifier: Apache-2.0
// Which activations of a block are not kept from forward to backward, but computed again (Chen et
// al. 2016, arXiv:1604.06174; "selective": Korthikanti et al. 2022, arXiv:2205.05198). Operations
// have the same bits each time, so results do not depend on it.
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/model/transformer_config.h"
#include "kernels/core/error.h"

namespace halfpipe::model {

inline constexpr std::array<std::pair<std::string_view, Recompute>, 3> kRecomputeNames{
    {{"none", Recompute::kNone}, {"selective", Recompute::kSelective}, {"full", Recompute::kFull}}};

[[nodiscard]] inline std::string_view name_of(Recompute recompute) {
  for (const auto& [name, value] : kRecomputeNames) {
    if (value == recompute) return name;
  }
  throw InternalError("a recompute without a name");
}

/// InternalError for a name that is none of them.
[[nodiscard]] inline Recompute recompute_named(std::string_view name) {
  for (const auto& [known, value] : kRecomputeNames) {
    if (known == name) return value;
  }
  throw InternalError("no recompute is called " + std::string(name));
}

/// Of a stage: what config.recompute says, one mode for all stages or one for each.
[[nodiscard]] inline Recompute recompute_of(const TransformerConfig& config, int stage) {
  const std::vector<Recompute>& modes = config.recompute;
  if (modes.empty()) return Recompute::kNone;
  if (modes.size() == 1) return modes.front();
  HALFPIPE_CHECK(static_cast<std::size_t>(stage) < modes.size(), "a stage without its recompute");
  return modes[static_cast<std::size_t>(stage)];
}

}  // namespace halfpipe::model
