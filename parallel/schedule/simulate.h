// SPDX-License-Identifier: Apache-2.0
// When every pass of a schedule runs, given what passes and messages cost: the planner's estimate
// of a step, and the figure that a measured step is held against.
#pragma once

#include <cstdint>
#include <vector>

#include "parallel/schedule/cost_model.h"
#include "parallel/schedule/pass.h"
#include "parallel/schedule/stage_orders.h"

namespace halfpipe::schedule {

struct TimedPass {
  PassOp op;
  double start;  // seconds since the first pass of the step
  double end;
};

struct Timeline {
  std::vector<std::vector<TimedPass>> ranks;  // [num_pipeline_ranks], in execution order
  double span = 0.0;      // longest time from first start to last end on one rank, seconds
  double makespan = 0.0;  // from the first start to the last end on all ranks, seconds
  // Idle share: 1 - busy / span and 1 - busy / makespan, where busy is the work of the busiest
  // rank.
  double bubble_fraction = 0.0;
  double bubble_fraction_makespan = 0.0;
  std::vector<std::int64_t> peak_activation_bytes;  // [num_pipeline_ranks], by CostModel lifetimes
  // [num_pipeline_ranks]; one unit is one micro-batch on 1/p of the model: a stage counts
  // 1 / num_chunks from the start of its F to the end of its W.
  std::vector<double> peak_units;
};

/// Runs each rank's list in order. A pass starts as soon as its rank is free and its inputs are
/// there; an input from another rank leaves when the pass that wrote it ends, or when the link is
/// free, and takes costs.message_seconds_between the two. Linear in the number of passes. Throws
/// ScheduleError when the orders cannot run (a pass is missing, repeated, or waits for itself in a
/// cycle) or when costs.stages does not name every stage.
[[nodiscard]] Timeline simulate(const StageOrders& orders, const CostModel& costs);

/// The same cost for every stage and pass, free messages.
[[nodiscard]] CostModel uniform_costs(int num_stages);

}  // namespace halfpipe::schedule
