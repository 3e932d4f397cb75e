// SPDX-License-Identifier: Apache-2.0
// A sweep of memory limits as a table, as JSON and as a picture.
#pragma once

#include <string>

#include "tools/halfpipe/sweep_memory.h"

namespace halfpipe::tools {

[[nodiscard]] std::string sweep_table(const MemorySweep& sweep);

/// {"p", "m", "objective", "time_unit": "block_forwards", "unit_bytes", "work_per_rank",
/// "search_seconds", "points": [{"memory_limit", "units", "lower_bound", "lower_bound_idle_share",
/// SCHEDULE}], "named": [{SCHEDULE}]}, with "name", "layout" (layout_of in schedule_json.h),
/// "num_chunks", "peak_bytes", "cost", "idle_share", "bubble_fraction", "bubble_fraction_makespan"
/// as SCHEDULE.
[[nodiscard]] std::string sweep_json(const MemorySweep& sweep);

/// Idle share against memory: what was found as steps, the bound below it, the named schedules as
/// points. A self-contained SVG.
[[nodiscard]] std::string sweep_svg(const MemorySweep& sweep);

}  // namespace halfpipe::tools
