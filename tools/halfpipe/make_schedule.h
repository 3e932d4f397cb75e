// SPDX-License-Identifier: Apache-2.0
// What `halfpipe schedule` is asked, and the schedules that answer it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "parallel/schedule/cost_model.h"
#include "parallel/schedule/search/problem.h"
#include "parallel/schedule/simulate.h"
#include "parallel/schedule/stage_orders.h"

namespace halfpipe::tools {

struct ScheduleOptions {
  std::string name = "v-half";
  int num_ranks = 4;
  int num_micro_batches = 8;
  int num_chunks = 2;
  // Of one micro-batch on one rank, over all its chunks.
  double forward = 1.0;
  double backward_input = 1.0;
  double backward_weight = 1.0;
  double message = 0.0;
  std::string stage_costs;             // a file in place of the four above; empty: none
  bool exact = false;                  // named orders as the textbook has them
  std::optional<double> memory_limit;  // for auto: units per rank; num_ranks, 1F1B's, if not given
  // Of a search.
  schedule::Objective objective = schedule::Objective::kSpan;
  double seconds = 1.0;
  std::int64_t evaluations = 0;
  std::uint64_t seed = 1;

  std::vector<std::string> compare;
  std::string json;
  std::string svg;
  std::string html;
  std::string trace;
};

/// What a search says besides its orders.
struct SearchReport {
  schedule::Objective objective;
  std::optional<double> memory_limit;   // units per rank, for auto
  double unit_bytes;                    // what one of them is in the lifetimes of the cost model
  std::optional<double> textbook_cost;  // of the objective: what named orders had to beat
  double lower_bound;                   // of the objective, in the times given
  std::string reason;
  double seconds;
};

struct MadeSchedule {
  schedule::StageOrders orders;
  schedule::CostModel costs;
  bool has_bytes;  // the costs say what stages keep; otherwise units of memory alone have a meaning
  schedule::Timeline timeline;
  double seconds;  // that it took to make it
  std::optional<SearchReport> search;
};

/// The schedule of the catalogue that has this name, improved for costs that are not equal unless
/// options.exact; or, for "auto", the best one found within the
/// memory limit on a linear, V or zigzag placement of up to six chunks. Throws ScheduleError when
/// there is none.
[[nodiscard]] MadeSchedule make_schedule(const ScheduleOptions& options, const std::string& name);

}  // namespace halfpipe::tools
