// SPDX-License-Identifier: Apache-2.0
// Placement, layers per stage and orders chosen together: a stage that is a little too heavy may
// allow a schedule that is much better, and the reverse. (The question is that of AdaPtis, Wang et
// al. 2025, arXiv:2509.23722; the search is our own.)
#pragma once

#include <string>

#include "parallel/schedule/search/budget.h"
#include "parallel/schedule/search/layered_model.h"
#include "parallel/schedule/stage_orders.h"

namespace halfpipe::schedule {

struct JointResult {
  Split split;
  StageOrders orders;         // named "auto"
  double cost;                // seconds of the objective
  double bound;               // seconds that no orders of these stages can beat
  std::string reason;         // what the bound rests on
  double bound_of_any_split;  // no placement and no layers per stage allow less
  int num_splits;             // scored
  double search_seconds;
};

/// Starts from splits whose ranks, stages or memory are balanced, on every placement; scores them
/// and splits near the best ones by a short search for orders each, and gives what is left of the
/// budget to search_schedule() on the best few. With SearchBudget::evaluations the result is the
/// same everywhere. With problem.blocks_per_stage only orders (and placements of as many stages)
/// are searched. Throws ScheduleError as check() does, and MemoryLimitError when nothing fits.
[[nodiscard]] JointResult search_jointly(const JointProblem& problem, const SearchBudget& budget);

}  // namespace halfpipe::schedule
