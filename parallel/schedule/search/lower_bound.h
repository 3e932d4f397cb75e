// SPDX-License-Identifier: Apache-2.0
// What no schedule can beat: how far from the optimum a found schedule is at most.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "parallel/schedule/search/problem.h"

namespace halfpipe::schedule {

struct LowerBound {
  double seconds;      // no schedule within the memory limits has a shorter span (or makespan)
  std::string reason;  // the argument that gives it, one line
};

/// For problem.objective. Counts every schedule whose stages run each pass in micro-batch order (a
/// rule of every plan) and whose passes start as soon as their rank's order lets them, as
/// simulate() runs them. Micro-batch order costs the makespan nothing: micro-batches are alike, so
/// the k-th pass of a stage can be taken for micro-batch k. It fixes when ranks start, which the
/// span needs: placements host stages 0 .. p-1 on ranks 0 .. p-1, so the first pass of rank d is F
/// of stage d, and it follows the first pass of rank d-1. Lower than the exact value by up to 1e-9
/// of the work, so that rounding never makes it too high. Throws ScheduleError when a rank's limit
/// is below smallest_memory_limit.
[[nodiscard]] LowerBound lower_bound(const SearchProblem& problem);

/// [rank], bytes: with less no schedule exists. A micro-batch that passes alone needs just this:
/// all of a rank's stages hold its activations until the last of them has run F, and each frees
/// them before the one below runs B.
[[nodiscard]] std::vector<std::int64_t> smallest_memory_limit(const Placement& placement,
                                                              const CostModel& costs);

}  // namespace halfpipe::schedule
