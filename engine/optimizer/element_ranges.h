// SPDX-License-Identifier: Apache-2.0
// Which elements of its parameters a rank steps, when replicas share the optimizer's work.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/model/parameter.h"

namespace halfpipe::optimizer {

/// Elements of a parameter's slice.
struct ElementRange {
  std::int64_t begin;
  std::int64_t end;

  [[nodiscard]] std::int64_t count() const { return end - begin; }
  friend bool operator==(const ElementRange&, const ElementRange&) = default;
};

/// Of one parameter: in order, none empty, no two that touch.
using ElementRanges = std::vector<ElementRange>;

[[nodiscard]] inline std::int64_t num_elements(const ElementRanges& ranges) {
  std::int64_t count = 0;
  for (const ElementRange& range : ranges) count += range.count();
  return count;
}

/// Of a rank that steps every element, for each parameter.
[[nodiscard]] inline std::vector<ElementRanges> all_elements(
    const std::vector<model::Parameter>& parameters) {
  std::vector<ElementRanges> all;
  for (const model::Parameter& parameter : parameters) all.push_back({{0, parameter.count()}});
  return all;
}

}  // namespace halfpipe::optimizer
