// SPDX-License-Identifier: Apache-2.0
#include "parallel/schedule/warm_up.h"

#include <cstddef>
#include <vector>

namespace halfpipe::schedule {
namespace {

/// [messages]: where in its sender's program each is sent.
std::vector<std::size_t> places_of_sends(const Plan& plan) {
  std::vector<std::size_t> places(plan.messages.size());
  for (const RankPlan& rank : plan.ranks) {
    for (std::size_t i = 0; i < rank.instructions.size(); ++i) {
      const Instruction& instruction = rank.instructions[i];
      if (instruction.kind != OpKind::kSend) continue;
      places[static_cast<std::size_t>(instruction.message)] = i;
    }
  }
  return places;
}

class WarmUps {
 public:
  explicit WarmUps(const Plan& plan)
      : plan_(plan), sends_(places_of_sends(plan)), lengths_(plan.ranks.size()) {
    for (std::size_t rank = 0; rank < lengths_.size(); ++rank) {
      lengths_[rank] = plan.ranks[rank].instructions.size();
    }
    // Each cut may take from others what they wait for.
    for (bool changed = true; changed;) {
      changed = false;
      for (std::size_t rank = 0; rank < lengths_.size(); ++rank) changed |= cut(rank);
    }
  }

  [[nodiscard]] WarmUp of_rank(std::size_t rank) const {
    WarmUp result;
    result.num_instructions = lengths_[rank];
    const std::vector<Instruction>& instructions = plan_.ranks[rank].instructions;
    for (std::size_t i = 0; i < instructions.size(); ++i) {
      const Instruction& instruction = instructions[i];
      if (instruction.message == kNone) continue;
      const bool is_inside = i < lengths_[rank];
      const bool was_sent = is_sent(instruction.message);
      if (instruction.kind == OpKind::kPostRecv) {
        if (is_inside && !was_sent) result.later_posts.push_back(i);
        if (!is_inside && was_sent) result.posts_to_make.push_back(i);
      } else if (!is_inside && was_sent) {
        if (instruction.kind == OpKind::kWaitRecv) result.receives_to_finish.push_back(i);
        if (instruction.kind == OpKind::kWaitSend) result.sends_to_finish.push_back(i);
      }
    }
    return result;
  }

 private:
  /// Whether its sender's warm-up sends it.
  [[nodiscard]] bool is_sent(int message) const {
    const auto index = static_cast<std::size_t>(message);
    return sends_[index] < lengths_[static_cast<std::size_t>(plan_.messages[index].src_rank)];
  }

  [[nodiscard]] bool belongs(const Instruction& instruction) const {
    switch (instruction.kind) {
      case OpKind::kForward:
      case OpKind::kPostRecv:
      case OpKind::kSend:      // of what a pass before it made
      case OpKind::kWaitSend:  // of a message sent before
        return true;
      case OpKind::kWaitRecv:
        return is_sent(instruction.message);
      case OpKind::kBackwardInput:
      case OpKind::kBackwardWeight:
        return false;
    }
    return false;
  }

  /// Whether the rank's warm-up has become shorter.
  bool cut(std::size_t rank) {
    const std::vector<Instruction>& instructions = plan_.ranks[rank].instructions;
    for (std::size_t i = 0; i < lengths_[rank]; ++i) {
      if (belongs(instructions[i])) continue;
      lengths_[rank] = i;
      return true;
    }
    return false;
  }

  const Plan& plan_;
  std::vector<std::size_t> sends_;
  std::vector<std::size_t> lengths_;  // [ranks]
};

}  // namespace

std::vector<WarmUp> warm_ups(const Plan& plan) {
  if (plan.forward_only) return std::vector<WarmUp>(plan.ranks.size());
  const WarmUps all(plan);
  std::vector<WarmUp> result;
  for (std::size_t rank = 0; rank < plan.ranks.size(); ++rank) result.push_back(all.of_rank(rank));
  return result;
}

}  // namespace halfpipe::schedule
