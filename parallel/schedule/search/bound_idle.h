// SPDX-License-Identifier: Apache-2.0
// How long a rank must idle near one end of its schedule, whatever the order of its passes.
#pragma once

#include <vector>

#include "parallel/schedule/search/bound_direction.h"
#include "parallel/schedule/search/bound_heads.h"

namespace halfpipe::schedule {

/// In the first `seconds` of its time a rank idles at least `idle` seconds. Both never fall along a
/// list.
struct ForcedIdle {
  double seconds;
  double idle;
};

/// Counts, at every moment at which a new pass becomes possible, the work that can have been done
/// until then: no pass before its head, and never more in flight than the memory limit allows. The
/// rank must be one that `heads` counted. Its time starts at `clock_start`.
[[nodiscard]] std::vector<ForcedIdle> forced_idle(const Direction& direction,
                                                  const Heads& heads,
                                                  int rank,
                                                  double clock_start);

/// The time of a rank that has `work` to do and idles at both ends: the two stretches do not
/// overlap as long as the work done in them does not fill the whole.
[[nodiscard]] double time_with_idle(const std::vector<ForcedIdle>& front,
                                    const std::vector<ForcedIdle>& back,
                                    double work);

}  // namespace halfpipe::schedule
