// SPDX-License-Identifier: Apache-2.0
// Rules on the messages and their order on each channel, an ordered pair of ranks.
#include <algorithm>
#include <cstddef>
#include <vector>

#include "parallel/schedule/describe_instruction.h"
#include "parallel/schedule/hand_over.h"
#include "parallel/schedule/validation_rules.h"

namespace halfpipe::schedule {
namespace {

/// "message 4 (activation of stage 1, micro-batch 0)"
std::string name_message(const Plan& plan, int message) {
  return "message " + std::to_string(message) + " (" +
         describe(hand_over_of(plan.messages[static_cast<std::size_t>(message)])) + ")";
}

Violation check_ends(const Plan& plan, int index) {
  const Message& m = plan.messages[static_cast<std::size_t>(index)];
  const auto is_stage = [&](int stage) {
    return stage >= 0 && stage < plan.placement.num_stages();
  };
  const bool exists = is_stage(m.from_stage) && is_stage(m.to_stage) && m.micro_batch >= 0 &&
                      m.micro_batch < plan.num_micro_batches;
  if (!exists || m.to_stage != hand_over_of(m).to_stage()) {
    return name_message(plan, index) + " goes to stage " + std::to_string(m.to_stage) +
           ", which is not the next stage of its kind";
  }
  if (m.src_rank != plan.placement.rank_of(m.from_stage) ||
      m.dst_rank != plan.placement.rank_of(m.to_stage) || m.src_rank == m.dst_rank) {
    return name_message(plan, index) + " goes from rank " + std::to_string(m.src_rank) +
           " to rank " + std::to_string(m.dst_rank) + ", which do not host its two stages";
  }
  return std::nullopt;
}

/// Messages in the order of their instructions of one kind.
struct ChannelOrder {
  std::vector<std::vector<int>> sends;     // [src * p + dst]
  std::vector<std::vector<int>> receives;  // [src * p + dst], in the order of posting
};

Violation collect(const Plan& plan, ChannelOrder& order) {
  const std::size_t num_ranks = plan.ranks.size();
  order.sends.resize(num_ranks * num_ranks);
  order.receives.resize(num_ranks * num_ranks);
  for (std::size_t rank = 0; rank < num_ranks; ++rank) {
    for (std::size_t i = 0; i < plan.ranks[rank].instructions.size(); ++i) {
      const Instruction& instruction = plan.ranks[rank].instructions[i];
      if (pass_of(instruction)) continue;
      const Message& m = plan.messages[static_cast<std::size_t>(instruction.message)];
      const bool sends = instruction.kind == OpKind::kSend || instruction.kind == OpKind::kWaitSend;
      if (static_cast<std::size_t>(sends ? m.src_rank : m.dst_rank) != rank) {
        return describe_at(plan, static_cast<int>(rank), static_cast<int>(i)) +
               ": the message has its other end here or none";
      }
      const std::size_t channel =
          static_cast<std::size_t>(m.src_rank) * num_ranks + static_cast<std::size_t>(m.dst_rank);
      if (instruction.kind == OpKind::kSend) {
        order.sends[channel].push_back(instruction.message);
      } else if (instruction.kind == OpKind::kPostRecv) {
        order.receives[channel].push_back(instruction.message);
      }
    }
  }
  return std::nullopt;
}

Violation check_channel(const Plan& plan,
                        const std::string& name,
                        const std::vector<int>& sends,
                        const std::vector<int>& receives) {
  for (std::size_t k = 0; k < std::max(sends.size(), receives.size()); ++k) {
    const auto number = [&] { return "channel " + name + ": number " + std::to_string(k); };
    if (k >= receives.size()) {
      return number() + " sent is " + name_message(plan, sends[k]) + ", which has no receive";
    }
    if (k >= sends.size()) {
      return number() + " received is " + name_message(plan, receives[k]) + ", which has no send";
    }
    if (sends[k] != receives[k]) {
      return number() + " sent is " + name_message(plan, sends[k]) + ", number " +
             std::to_string(k) + " received is " + name_message(plan, receives[k]);
    }
    const int sequence = plan.messages[static_cast<std::size_t>(sends[k])].sequence;
    if (sequence != static_cast<int>(k)) {
      return number() + " sent is " + name_message(plan, sends[k]) +
             ", whose stated sequence number is " + std::to_string(sequence);
    }
  }
  return std::nullopt;
}

/// Sent counts per message: with equal lists per channel, receives then match too.
Violation check_each_sent_once(const Plan& plan, const ChannelOrder& order) {
  std::vector<int> num_sends(plan.messages.size(), 0);
  for (const std::vector<int>& channel : order.sends) {
    for (const int message : channel) ++num_sends[static_cast<std::size_t>(message)];
  }
  for (std::size_t m = 0; m < num_sends.size(); ++m) {
    if (num_sends[m] == 1) continue;
    return name_message(plan, static_cast<int>(m)) + " is sent " + std::to_string(num_sends[m]) +
           " times";
  }
  return std::nullopt;
}

}  // namespace

Violation check_channels(const Plan& plan) {
  for (std::size_t m = 0; m < plan.messages.size(); ++m) {
    if (auto violation = check_ends(plan, static_cast<int>(m))) return violation;
  }
  ChannelOrder order;
  if (auto violation = collect(plan, order)) return violation;
  const std::size_t num_ranks = plan.ranks.size();
  for (std::size_t channel = 0; channel < order.sends.size(); ++channel) {
    const std::string name =
        std::to_string(channel / num_ranks) + " -> " + std::to_string(channel % num_ranks);
    if (auto violation = check_channel(plan, name, order.sends[channel], order.receives[channel])) {
      return violation;
    }
  }
  return check_each_sent_once(plan, order);
}

}  // namespace halfpipe::schedule
