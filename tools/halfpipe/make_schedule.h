// SPDX-License-Identifier: Apache-2.0
// The schedules that answer `halfpipe schedule`.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "parallel/schedule/cost_model.h"
#include "parallel/schedule/search/lower_bound.h"
#include "parallel/schedule/search/problem.h"
#include "parallel/schedule/simulate.h"
#include "parallel/schedule/stage_orders.h"
#include "tools/halfpipe/schedule_costs.h"
#include "tools/halfpipe/schedule_options.h"

namespace halfpipe::tools {

/// What a search says besides its orders.
struct SearchReport {
  std::vector<double> memory_limit;     // for auto, units: of all ranks, or [rank]
  std::optional<double> textbook_cost;  // of the objective: what named orders had to beat
  double seconds;
};

/// What no schedule can beat, in the times given: for auto, none on the placements searched that
/// keeps the limits; for others, none on the same placement with no more memory on any rank.
struct ScheduleBounds {
  schedule::Objective objective;
  schedule::LowerBound of_objective;
  double of_span;
};

struct MadeSchedule {
  schedule::StageOrders orders;
  schedule::CostModel costs;
  bool has_bytes;  // the costs say what stages keep; otherwise units of memory alone have a meaning
  schedule::Timeline timeline;
  double seconds;  // that it took to make it
  std::optional<SearchReport> search;
  std::optional<ScheduleBounds> bounds = {};
  // Bytes in which units are counted; nothing: units are stages in flight, as in the timeline.
  std::optional<double> unit_bytes = {};
};

/// [rank], in the units in which limits count.
[[nodiscard]] std::vector<double> peak_units(const MadeSchedule& made);

/// The schedule of the catalogue that has this name, improved for costs that are not equal unless
/// options.exact; or, for "auto", the best one found within the memory limit on a linear, V, zigzag
/// or interleaved placement of up to kMostSearchedChunks chunks. Throws ScheduleError when there is
/// none.
[[nodiscard]] MadeSchedule make_schedule(const ScheduleOptions& options,
                                         const ScheduleCosts& costs,
                                         const std::string& name);

}  // namespace halfpipe::tools
