// SPDX-License-Identifier: Apache-2.0
// The repeating unit of a schedule: what one micro-batch does on every pipeline rank, in unit time
// slots, and how often that repeats. Qi et al. 2024, arXiv:2405.15362: peak activation memory is
// about lifespan / interval.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "parallel/schedule/pass.h"
#include "parallel/schedule/placement.h"
#include "parallel/schedule/stage_orders.h"

namespace halfpipe::schedule {

/// A pass takes one slot, whatever it will cost. Slots count from F of stage 0.
struct Slot {
  int stage;
  Pass pass;
  int start;
};

struct BuildingBlock {
  std::string name;
  Placement placement;
  int interval;             // slots between the starts of two consecutive micro-batches
  std::vector<Slot> slots;  // every (stage, pass) once; or F and B only, see place_weight_passes
};

/// Slots from the start of F to the end of W (of B, where the block leaves W out), summed over the
/// stages of a rank: what one micro-batch occupies there.
[[nodiscard]] int lifespan(const BuildingBlock& block, int pipeline_rank);

/// Most stages in flight at once on a rank in the steady state: how many lifespans of repeats
/// overlap.
[[nodiscard]] int predicted_peak(const BuildingBlock& block, int pipeline_rank);
/// The same on the rank that needs most.
[[nodiscard]] int predicted_peak(const BuildingBlock& block);

/// What is wrong with the block, in words: a pass missing or repeated, a dependency broken, or two
/// passes of a rank that meet in one slot when the block repeats every `interval` slots.
[[nodiscard]] std::optional<std::string> first_defect(const BuildingBlock& block);

/// The block with a W for every B: in the next slot that its rank has free modulo the interval, the
/// oldest B first. `block` has F and B only, no defect, and an interval of at least three slots per
/// chunk. With its W passes in, the predicted peak is what the schedule needs to run in steady
/// state without a wait.
[[nodiscard]] BuildingBlock with_weight_passes(BuildingBlock block);

/// Repeats the block for every micro-batch and sorts each rank's passes by slot.
[[nodiscard]] StageOrders unroll(const BuildingBlock& block, int num_micro_batches);

}  // namespace halfpipe::schedule
