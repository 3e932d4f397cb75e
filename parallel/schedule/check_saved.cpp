// SPDX-License-Identifier: Apache-2.0
// Rules on the activation arena: follows the live ranges through a rank's program.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>
#include <vector>

#include "parallel/schedule/assign_saved.h"
#include "parallel/schedule/describe_instruction.h"
#include "parallel/schedule/validation_rules.h"

namespace halfpipe::schedule {
namespace {

struct Range {
  std::int64_t end;  // offset of the first byte behind it
  int slot;
};

class ArenaTracker {
 public:
  ArenaTracker(const Plan& plan, const CostModel& costs, std::size_t rank_index)
      : plan_(plan), costs_(costs), rank_index_(rank_index), rank_(plan.ranks[rank_index]) {}

  Violation visit(std::size_t index) {
    const Instruction& instruction = rank_.instructions[index];
    const auto op = pass_of(instruction);
    if (!op) return std::nullopt;
    index_ = index;
    slot_ = instruction.saved_slot;
    const SavedSlot& slot = rank_.saved[static_cast<std::size_t>(slot_)];
    if (slot.stage != op->stage || slot.micro_batch != op->micro_batch) {
      return here("its saved slot " + std::to_string(slot_) + " belongs to stage " +
                  std::to_string(slot.stage) + ", micro-batch " + std::to_string(slot.micro_batch));
    }
    const StageCost& cost = costs_.stages[static_cast<std::size_t>(op->stage)];
    Violation violation = take_for(op->pass, slot, cost);
    if (!violation) release_after(op->pass, slot, cost);
    return violation;
  }

  Violation at_end() const {
    if (peak_ == rank_.peak_activation_bytes) return std::nullopt;
    return "rank " + std::to_string(rank_index_) + ": live activations peak at " +
           std::to_string(peak_) + " bytes, the plan states " +
           std::to_string(rank_.peak_activation_bytes);
  }

 private:
  /// What begins to live when the pass starts.
  Violation take_for(Pass pass, const SavedSlot& slot, const StageCost& cost) {
    if (pass == Pass::kForward) {
      if (auto violation =
              take(slot.forward_to_backward_input_offset, cost.forward_to_backward_input_bytes)) {
        return violation;
      }
      return take(slot.forward_to_backward_weight_offset, cost.forward_to_backward_weight_bytes);
    }
    if (pass == Pass::kBackwardInput) {
      return take(slot.backward_input_to_backward_weight_offset,
                  cost.backward_input_to_backward_weight_bytes);
    }
    return std::nullopt;
  }

  /// What ends when the pass ends.
  void release_after(Pass pass, const SavedSlot& slot, const StageCost& cost) {
    const bool last_use = plan_.forward_only;
    if (pass == Pass::kBackwardInput || last_use) {
      release(slot.forward_to_backward_input_offset, cost.forward_to_backward_input_bytes);
    }
    if (pass == Pass::kBackwardWeight || last_use) {
      release(slot.forward_to_backward_weight_offset, cost.forward_to_backward_weight_bytes);
    }
    if (pass == Pass::kBackwardWeight) {
      release(slot.backward_input_to_backward_weight_offset,
              cost.backward_input_to_backward_weight_bytes);
    }
  }

  Violation take(std::int64_t offset, std::int64_t bytes) {
    if (bytes == 0) return std::nullopt;
    const std::int64_t end = offset + arena_bytes_of(bytes);
    if (offset < 0 || offset % kArenaAlignment != 0 || end > rank_.arena_bytes) {
      return here(name_range(offset, end) + " are not aligned or leave the arena of " +
                  std::to_string(rank_.arena_bytes) + " bytes");
    }
    const auto next = live_.lower_bound(offset);
    if (next != live_.end() && next->first < end) return overlap(offset, end, next);
    if (next != live_.begin() && std::prev(next)->second.end > offset) {
      return overlap(offset, end, std::prev(next));
    }
    live_.emplace(offset, Range{end, slot_});
    live_bytes_ += end - offset;
    peak_ = std::max(peak_, live_bytes_);
    return std::nullopt;
  }

  void release(std::int64_t offset, std::int64_t bytes) {
    if (bytes == 0) return;
    live_bytes_ -= arena_bytes_of(bytes);
    live_.erase(offset);
  }

  Violation overlap(std::int64_t offset,
                    std::int64_t end,
                    std::map<std::int64_t, Range>::const_iterator other) const {
    const SavedSlot& slot = rank_.saved[static_cast<std::size_t>(other->second.slot)];
    return here(name_range(offset, end) + " overlap " +
                name_range(other->first, other->second.end) + " that stage " +
                std::to_string(slot.stage) + ", micro-batch " + std::to_string(slot.micro_batch) +
                " still keeps");
  }

  static std::string name_range(std::int64_t offset, std::int64_t end) {
    return "bytes [" + std::to_string(offset) + ", " + std::to_string(end) + ")";
  }
  [[nodiscard]] std::string here(const std::string& text) const {
    return describe_at(plan_, static_cast<int>(rank_index_), static_cast<int>(index_)) + ": " +
           text;
  }

  const Plan& plan_;
  const CostModel& costs_;
  std::size_t rank_index_;
  const RankPlan& rank_;
  std::size_t index_ = 0;               // of the instruction visited
  int slot_ = kNone;                    // of the pass visited
  std::map<std::int64_t, Range> live_;  // by offset
  std::int64_t live_bytes_ = 0;
  std::int64_t peak_ = 0;
};

}  // namespace

Violation check_saved(const Plan& plan, const CostModel& costs) {
  for (std::size_t rank = 0; rank < plan.ranks.size(); ++rank) {
    ArenaTracker tracker(plan, costs, rank);
    for (std::size_t i = 0; i < plan.ranks[rank].instructions.size(); ++i) {
      if (auto violation = tracker.visit(i)) return violation;
    }
    if (auto violation = tracker.at_end()) return violation;
  }
  return std::nullopt;
}

}  // namespace halfpipe::schedule
