// SPDX-License-Identifier: Apache-2.0
// The earliest start of every pass in one direction of time: no schedule within the memory limits
// starts it sooner.
#pragma once

#include <vector>

#include "parallel/schedule/search/bound_direction.h"

namespace halfpipe::schedule {

class Heads {
 public:
  explicit Heads(int num_stages)
      : num_stages_(num_stages), starts_(static_cast<std::size_t>(3 * num_stages)) {}

  /// [micro_batch], seconds, ascending; micro-batches counted in this direction of time. Empty for
  /// stages of ranks that are not counted.
  [[nodiscard]] const std::vector<double>& of(PhaseOfStage op) const { return starts_[index(op)]; }
  [[nodiscard]] std::vector<double>& of(PhaseOfStage op) { return starts_[index(op)]; }

 private:
  [[nodiscard]] std::size_t index(PhaseOfStage op) const {
    return static_cast<std::size_t>(op.phase * num_stages_ + op.stage);
  }
  int num_stages_;
  std::vector<std::vector<double>> starts_;
};

/// Passes of a stage run in micro-batch order. A pass starts after its inputs; and on the ranks
/// that `counted` says ([rank]) after enough memory of its rank can have been freed, and after the
/// passes of its rank that must come before it have had their time. Memory limits must not be below
/// smallest_memory_limit.
[[nodiscard]] Heads earliest_starts(const Direction& direction, const std::vector<bool>& counted);

}  // namespace halfpipe::schedule
