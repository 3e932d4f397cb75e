// SPDX-License-Identifier: Apache-2.0
// What `halfpipe schedule` prints for people.
#pragma once

#include <string>
#include <vector>

#include "tools/halfpipe/make_schedule.h"
#include "tools/halfpipe/schedule_options.h"

namespace halfpipe::tools {

/// What was asked, a table with a line for each schedule, how good they are and might be, and what
/// each rank keeps; the timeline, if there is one schedule and it fits.
[[nodiscard]] std::string schedule_text(const ScheduleOptions& options,
                                        const std::vector<MadeSchedule>& results);

}  // namespace halfpipe::tools
