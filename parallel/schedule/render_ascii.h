// SPDX-License-Identifier: Apache-2.0
// A timeline as text, for logs, terminals and golden tests.
#pragma once

#include <string>

#include "parallel/schedule/simulate.h"

namespace halfpipe::schedule {

/// One line per rank, one character per `seconds_per_column`:
///   rank 0 |F0 F1 f0 ...b0 w0 B0 W0 |
/// A pass is its letter (small on chunks above 0) and its micro-batch where that fits, then spaces;
/// dots are idle time. Throws ScheduleError unless seconds_per_column is positive and finite.
[[nodiscard]] std::string render_ascii(const Timeline& timeline, double seconds_per_column);

/// The seconds_per_column at which the passes fill `num_columns`.
[[nodiscard]] double seconds_per_column_for(const Timeline& timeline, int num_columns);

/// False where a picture of `num_columns` says little: more than 64 ranks, or a rank that runs more
/// than five passes in two columns, most of which would be left out.
[[nodiscard]] bool fits_as_text(const Timeline& timeline, int num_columns);

}  // namespace halfpipe::schedule
