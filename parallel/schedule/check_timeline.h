// SPDX-License-Identifier: Apache-2.0
// The proof of a timeline: what a schedule's picture and figures claim, checked pass by pass
// without simulate().
#pragma once

#include <optional>
#include <string>

#include "parallel/schedule/cost_model.h"
#include "parallel/schedule/placement.h"
#include "parallel/schedule/simulate.h"

namespace halfpipe::schedule {

/// The first rule that the timeline breaks, in words that name the pass; nothing when all hold:
///   - every pass of every stage and micro-batch once, on the rank that hosts the stage;
///   - a rank runs one pass at a time, in the order in which the timeline lists them, each pass of
///     a stage in micro-batch order;
///   - every pass takes the seconds that its stage costs, no more and no less;
///   - it starts after the passes of its own stage that it follows, and after its input has
///     arrived: a message later than the end of the pass that wrote it, on a busy link when the
///     messages before it have left;
///   - span, makespan and the peaks in bytes and units are those of the passes.
/// Times are equal within 1e-9 of the makespan. n log n in the number of passes.
[[nodiscard]] std::optional<std::string> first_violation(const Timeline& timeline,
                                                         const Placement& placement,
                                                         int num_micro_batches,
                                                         const CostModel& costs);

}  // namespace halfpipe::schedule
