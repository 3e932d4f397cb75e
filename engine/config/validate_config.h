// SPDX-License-Identifier: Apache-2.0
// The rules that a configuration must keep before any file of data is opened: the range of every
// value, what this version can do, and what keys ask of each other.
#pragma once

#include "engine/config/run_config.h"

#include <optional>
#include <string>
#include <vector>

namespace halfpipe::config {

struct Violation {
  std::vector<std::string> keys;  // whose values break the rule; the first one is at fault first
  std::string sentence;           // "model.hidden_size (10) must be a multiple of ..."
};

/// The first rule that the configuration breaks.
[[nodiscard]] std::optional<Violation> find_violation(const RunConfig& config);

/// Throws ConfigError with the sentence of the first violation.
void validate(const RunConfig& config);

}  // namespace halfpipe::config
