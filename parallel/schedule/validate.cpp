// SPDX-License-Identifier: Apache-2.0
#include "parallel/schedule/validate.h"

#include <cstddef>

#include "parallel/schedule/describe_instruction.h"
#include "parallel/schedule/replay.h"
#include "parallel/schedule/schedule_error.h"
#include "parallel/schedule/validation_rules.h"

namespace halfpipe::schedule {

Violation check_progress(const Plan& plan, const CostModel& costs) {
  for (const SendRule rule : {SendRule::kBuffered, SendRule::kRendezvous}) {
    const Replay result = replay(plan, costs, rule);
    if (result.finished) continue;
    std::string text = std::string("deadlock with ") +
                       (rule == SendRule::kBuffered ? "buffered" : "rendezvous") + " sends:";
    for (std::size_t rank = 0; rank < result.stopped_at.size(); ++rank) {
      if (result.stopped_at[rank] == kNone) continue;
      text.append(" ").append(describe_at(plan, static_cast<int>(rank), result.stopped_at[rank]));
      text.append(" waits for ever;");
    }
    text.pop_back();
    return text;
  }
  return std::nullopt;
}

std::optional<std::string> first_violation(const Plan& plan, const CostModel& costs) {
  if (Violation violation = check_ranges(plan, costs)) return violation;
  if (Violation violation = check_passes(plan)) return violation;
  if (Violation violation = check_channels(plan)) return violation;
  if (Violation violation = check_buffers(plan)) return violation;
  if (Violation violation = check_progress(plan, costs)) return violation;
  return check_saved(plan, costs);
}

void validate(const Plan& plan, const CostModel& costs) {
  if (const auto violation = first_violation(plan, costs)) {
    throw ScheduleError("schedule " + plan.schedule_name + " is not valid: " + *violation);
  }
}

}  // namespace halfpipe::schedule
