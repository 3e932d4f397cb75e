// SPDX-License-Identifier: Apache-2.0
// The rules that validate.h lists, one function per group. Each relies on those above it to hold.
#pragma once

#include <optional>
#include <string>

#include "parallel/schedule/cost_model.h"
#include "parallel/schedule/plan.h"

namespace halfpipe::schedule {

using Violation = std::optional<std::string>;

/// Every index lies within its list; counts match the placement.
[[nodiscard]] Violation check_ranges(const Plan& plan, const CostModel& costs);
/// Passes: complete, in place, in order.
[[nodiscard]] Violation check_passes(const Plan& plan);
/// Messages: right ranks; the k-th send of a channel is its k-th receive.
[[nodiscard]] Violation check_channels(const Plan& plan);
/// Message buffers: what is read is there, what is written is free.
[[nodiscard]] Violation check_buffers(const Plan& plan);
/// Replays the plan with buffered and with rendezvous sends.
[[nodiscard]] Violation check_progress(const Plan& plan, const CostModel& costs);
/// Saved activations: offsets, peak, arena.
[[nodiscard]] Violation check_saved(const Plan& plan, const CostModel& costs);

}  // namespace halfpipe::schedule
