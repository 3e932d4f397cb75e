// SPDX-License-Identifier: Apache-2.0
// The parts of the table of keys, each in the order of the documentation.
#pragma once

#include "engine/config/key.h"

#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace halfpipe::config {

// Far above any model or machine, and low enough that products of two of them fit 64 bits and
// 4 x hidden_size fits an int.
inline constexpr int kLargestSize = 1 << 24;

/// Sections train and optimizer.
void add_training_keys(std::vector<Key>& keys);
/// Sections parallel and schedule.
void add_layout_keys(std::vector<Key>& keys);

/// The key has a meaning only where `applies` holds, which `decided_by` decides.
[[nodiscard]] inline Key only_with(Key key,
                                   std::vector<std::string> decided_by,
                                   std::string applies_when,
                                   std::function<bool(const RunConfig&)> applies) {
  key.decided_by = std::move(decided_by);
  key.applies_when = std::move(applies_when);
  key.applies = std::move(applies);
  return key;
}

}  // namespace halfpipe::config
