// SPDX-License-Identifier: Apache-2.0
#include "parallel/schedule/assign_saved.h"

#include <cstddef>
#include <optional>
#include <vector>

#include "parallel/schedule/pack_ranges.h"

namespace halfpipe::schedule {
namespace {

/// Positions, in the rank's program, of the passes of one (stage, micro-batch).
struct PassPositions {
  int forward = kNone;
  int backward_input = kNone;
  int backward_weight = kNone;
};

/// A range and the field of the slot that takes its offset.
struct SlotRange {
  std::size_t slot;
  std::int64_t SavedSlot::*offset;
};

/// Numbers the slots in order of their F and notes where the passes are.
std::vector<PassPositions> number_slots(const Plan& plan, RankPlan& rank) {
  const auto num_micro_batches = static_cast<std::size_t>(plan.num_micro_batches);
  std::vector<int> slot_of(
      static_cast<std::size_t>(plan.placement.num_chunks()) * num_micro_batches, kNone);
  std::vector<PassPositions> positions;
  for (std::size_t i = 0; i < rank.instructions.size(); ++i) {
    Instruction& instruction = rank.instructions[i];
    const std::optional<PassOp> op = pass_of(instruction);
    if (!op) continue;
    int& slot = slot_of[static_cast<std::size_t>(instruction.chunk) * num_micro_batches +
                        static_cast<std::size_t>(op->micro_batch)];
    if (slot == kNone) {
      slot = static_cast<int>(rank.saved.size());
      rank.saved.push_back({op->stage, op->micro_batch});
      positions.emplace_back();
    }
    instruction.saved_slot = slot;
    PassPositions& at = positions[static_cast<std::size_t>(slot)];
    const auto position = static_cast<int>(i);
    if (op->pass == Pass::kForward) at.forward = position;
    if (op->pass == Pass::kBackwardInput) at.backward_input = position;
    if (op->pass == Pass::kBackwardWeight) at.backward_weight = position;
  }
  return positions;
}

void lay_out(const Plan& plan, const CostModel& costs, RankPlan& rank) {
  const std::vector<PassPositions> positions = number_slots(plan, rank);
  std::vector<LiveRange> ranges;
  std::vector<SlotRange> owners;
  const auto add = [&](std::size_t slot, int first, int last, std::int64_t bytes,
                       std::int64_t SavedSlot::*offset) {
    if (bytes == 0) return;
    ranges.push_back({first, last, arena_bytes_of(bytes)});
    owners.push_back({slot, offset});
  };
  for (std::size_t slot = 0; slot < positions.size(); ++slot) {
    const PassPositions& at = positions[slot];
    const StageCost& cost = costs.stages[static_cast<std::size_t>(rank.saved[slot].stage)];
    add(slot, at.forward, plan.forward_only ? at.forward : at.backward_input,
        cost.forward_to_backward_input_bytes, &SavedSlot::forward_to_backward_input_offset);
    add(slot, at.forward, plan.forward_only ? at.forward : at.backward_weight,
        cost.forward_to_backward_weight_bytes, &SavedSlot::forward_to_backward_weight_offset);
    if (plan.forward_only) continue;
    add(slot, at.backward_input, at.backward_weight, cost.backward_input_to_backward_weight_bytes,
        &SavedSlot::backward_input_to_backward_weight_offset);
  }
  rank.peak_activation_bytes = peak_of(ranges);
  rank.arena_bytes = pack(ranges);
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    rank.saved[owners[i].slot].*owners[i].offset = ranges[i].offset;
  }
}

}  // namespace

void assign_saved(const CostModel& costs, Plan& plan) {
  for (RankPlan& rank : plan.ranks) lay_out(plan, costs, rank);
}

}  // namespace halfpipe::schedule
