// SPDX-License-Identifier: Apache-2.0
// A schedule with its times as JSON, for programs that check, draw or compare schedules.
#pragma once

#include <string>

#include "tools/halfpipe/make_schedule.h"

namespace halfpipe::tools {

/// "linear", "loop", "v" or "zigzag": what JSON calls a placement.
[[nodiscard]] const char* layout_of(schedule::PlacementKind kind);

/// {"name", "p", "m", "layout" (layout_of), "comm", "span", "makespan",
/// "bubble_fraction", "bubble_fraction_makespan", "peak_memory": [units by rank], "rows":
/// [{"device", "op": "F" | "B" | "W", "stage", "chunk", "microbatch", "start", "end"}]}; rows rank
/// by rank in execution order, times as in the timeline. With made.bounds also "lower_bound_span",
/// "lower_bound_makespan" where that was the objective, and "search_seconds", 0 where nothing was
/// searched; for auto "memory_limit" (units: a number, or a list by rank), for improved orders
/// "textbook_span" or "textbook_makespan".
[[nodiscard]] std::string schedule_json(const MadeSchedule& made);

}  // namespace halfpipe::tools
