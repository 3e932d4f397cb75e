// SPDX-License-Identifier: Apache-2.0
// Lays out each rank's activation arena.
#pragma once

#include <cstdint>

#include "parallel/schedule/cost_model.h"
#include "parallel/schedule/plan.h"

namespace halfpipe::schedule {

/// All offsets and sizes in the arena are multiples of this: a cache line, and what vector loads
/// on any device want.
inline constexpr std::int64_t kArenaAlignment = 64;

[[nodiscard]] constexpr std::int64_t arena_bytes_of(std::int64_t bytes) {
  return (bytes + kArenaAlignment - 1) / kArenaAlignment * kArenaAlignment;
}

/// Fills the saved slots of every rank, saved_slot of every pass, peak_activation_bytes and
/// arena_bytes. Lifetimes are those of cost_model.h; in a forward-only plan everything lives during
/// its F alone. Every pass of the plan must be there exactly once.
void assign_saved(const CostModel& costs, Plan& plan);

}  // namespace halfpipe::schedule
