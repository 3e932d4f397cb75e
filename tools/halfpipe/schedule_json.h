// SPDX-License-Identifier: Apache-2.0
// A schedule with its times as JSON, for programs that check, draw or compare schedules.
#pragma once

#include <string>

#include "parallel/schedule/cost_model.h"
#include "parallel/schedule/simulate.h"
#include "parallel/schedule/stage_orders.h"

namespace halfpipe::tools {

/// {"name", "p", "m", "layout": "linear" | "loop" | "v", "comm", "span", "makespan",
/// "bubble_fraction", "bubble_fraction_makespan", "peak_memory": [units by rank], "rows":
/// [{"device", "op": "F" | "B" | "W", "stage", "chunk", "microbatch", "start", "end"}]}; rows rank
/// by rank in execution order, times as in the timeline.
[[nodiscard]] std::string schedule_json(const schedule::StageOrders& orders,
                                        const schedule::CostModel& costs,
                                        const schedule::Timeline& timeline);

}  // namespace halfpipe::tools
