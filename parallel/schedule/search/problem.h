// SPDX-License-Identifier: Apache-2.0
// What a schedule search is asked: which stages on which ranks, what passes cost, and how much
// memory each rank may use.
#pragma once

#include <cstdint>
#include <vector>

#include "parallel/schedule/cost_model.h"
#include "parallel/schedule/placement.h"
#include "parallel/schedule/simulate.h"

namespace halfpipe::schedule {

/// What a good schedule makes small.
enum class Objective : std::uint8_t {
  kSpan,      // the longest time between first start and last end on one rank
  kMakespan,  // from the first start to the last end of all ranks
};

/// Seconds.
[[nodiscard]] inline double cost_of(const Timeline& timeline, Objective objective) {
  return objective == Objective::kSpan ? timeline.span : timeline.makespan;
}

struct SearchProblem {
  Placement placement;
  int num_micro_batches;
  CostModel costs;  // one entry per stage
  /// [rank], bytes: the lifetimes of CostModel may never sum to more on that rank.
  std::vector<std::int64_t> memory_limit;
  Objective objective = Objective::kSpan;
};

}  // namespace halfpipe::schedule
