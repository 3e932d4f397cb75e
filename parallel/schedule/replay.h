// SPDX-License-Identifier: Apache-2.0
// Runs a plan on paper: does it come to an end, and when?
#pragma once

#include <cstdint>
#include <vector>

#include "parallel/schedule/cost_model.h"
#include "parallel/schedule/plan.h"

namespace halfpipe::schedule {

/// When a send has left its buffer.
enum class SendRule : std::uint8_t {
  kBuffered,    // at once: the transport copies it
  kRendezvous,  // when its receive is posted and the bytes have moved
};

struct Replay {
  bool finished;
  double last_pass_end;         // seconds, over all ranks
  std::vector<int> stopped_at;  // [rank]: instruction that waits for ever; kNone when finished
};

/// Messages must have their instructions on the ranks that they name; costs.stages must match the
/// placement. Linear in the number of instructions.
[[nodiscard]] Replay replay(const Plan& plan, const CostModel& costs, SendRule rule);

}  // namespace halfpipe::schedule
