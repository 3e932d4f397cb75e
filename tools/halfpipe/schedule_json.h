// SPDX-License-Identifier: Apache-2.0
// A schedule with its times as JSON, for programs that check, draw or compare schedules.
#pragma once

#include <string>

#include "tools/halfpipe/make_schedule.h"

namespace halfpipe::tools {

/// {"name", "p", "m", "layout": "linear" | "loop" | "v" | "zigzag", "comm", "span", "makespan",
/// "bubble_fraction", "bubble_fraction_makespan", "peak_memory": [units by rank], "rows":
/// [{"device", "op": "F" | "B" | "W", "stage", "chunk", "microbatch", "start", "end"}]}; rows rank
/// by rank in execution order, times as in the timeline. A searched one has "lower_bound_span" or
/// "lower_bound_makespan" and "search_seconds", besides "memory_limit" (units) for auto, and
/// "textbook_span" or "textbook_makespan" for improved orders.
[[nodiscard]] std::string schedule_json(const MadeSchedule& made);

}  // namespace halfpipe::tools
