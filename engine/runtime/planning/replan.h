// SPDX-License-Identifier: Apache-2.0
// Orders for the costs that a job's own steps have shown, in place of those it was planned with.
#pragma once

#include <optional>

#include "engine/runtime/planning/job.h"
#include "parallel/schedule/cost_model.h"
#include "parallel/schedule/plan.h"
#include "parallel/schedule/simulate.h"
#include "parallel/transport/transport.h"

namespace halfpipe::runtime {

/// Seconds of the measured costs.
struct ReplanResult {
  schedule::Timeline before;           // of the present orders
  std::optional<schedule::Plan> plan;  // better ones by schedule.objective; nothing: none found
  std::optional<schedule::Timeline> expected;  // of the plan
  double search_seconds = 0.0;                 // on rank 0
};

/// Searches orders for `costs` (the same on every rank) with the stages, the placement and the
/// memory that the job has: what its search may take on each rank, or the textbook orders take.
/// Rank 0 searches; the same result everywhere. Collective.
[[nodiscard]] ReplanResult replan(const Job& job,
                                  const schedule::CostModel& costs,
                                  transport::Transport& transport);

}  // namespace halfpipe::runtime
