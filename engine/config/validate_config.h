// SPDX-License-Identifier: Apache-2.0
// The rules that a configuration must keep before any file of data is opened: the range of every
// value, what this version can do, and what keys ask of each other.
#pragma once

#include "engine/config/key.h"
#include "engine/config/run_config.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace halfpipe::config {

struct Violation {
  std::vector<std::string> keys;  // whose values break the rule; the first one is at fault first
  std::string sentence;           // "model.hidden_size (10) must be a multiple of ..."
};

/// A larger plan takes minutes and gigabytes to make: each of its passes takes memory, and stages
/// meet one another.
inline constexpr std::int64_t kMostPasses = std::int64_t{1} << 24;  // of a step, on all ranks
inline constexpr std::int64_t kMostStages = std::int64_t{1} << 13;

/// Whether a plan keeps both limits; a stage has three passes per micro-batch.
[[nodiscard]] bool is_plannable(std::int64_t num_stages, std::int64_t num_micro_batches);

/// The first rule that the configuration breaks. Keys count as set where they differ from their
/// default; `meant_anyway` are keys that have a meaning to the caller whatever the others say.
[[nodiscard]] std::optional<Violation> find_violation(
    const RunConfig& config, std::span<const std::string> meant_anyway = {});

/// The first key that is set and has no meaning beside the other values: it would be ignored, and
/// is refused instead. `is_set` tells which keys are.
[[nodiscard]] std::optional<Violation> find_idle_key(const RunConfig& config,
                                                     const std::function<bool(const Key&)>& is_set);

/// Throws ConfigError with the sentence of the first violation.
void validate(const RunConfig& config);

}  // namespace halfpipe::config
