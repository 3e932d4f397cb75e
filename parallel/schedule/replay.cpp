// SPDX-License-Identifier: Apache-2.0
#include "parallel/schedule/replay.h"

#include <algorithm>
#include <cstddef>
#include <deque>
#include <optional>

#include "parallel/schedule/link_clock.h"

namespace halfpipe::schedule {
namespace {

constexpr double kNotYet = -1.0;

struct MessageState {
  double sent = kNotYet;     // seconds
  double posted = kNotYet;   // seconds
  double arrival = kNotYet;  // seconds
  int receiver = kNone;      // rank that waits for the send
  int sender = kNone;        // rank that waits for the receive to be posted
};

class Player {
 public:
  Player(const Plan& plan, const CostModel& costs, SendRule rule)
      : plan_(plan),
        costs_(costs),
        links_(costs, plan.placement.num_pipeline_ranks()),
        rule_(rule),
        messages_(plan.messages.size()),
        next_(plan.ranks.size(), 0),
        clock_(plan.ranks.size(), 0.0) {}

  Replay play() {
    for (std::size_t rank = 0; rank < plan_.ranks.size(); ++rank) ready_.push_back(rank);
    while (!ready_.empty()) {
      const std::size_t rank = ready_.front();
      ready_.pop_front();
      const std::vector<Instruction>& program = plan_.ranks[rank].instructions;
      while (next_[rank] < program.size() && step(rank, program[next_[rank]])) ++next_[rank];
    }
    Replay result{true, last_pass_end_, {}};
    for (std::size_t rank = 0; rank < plan_.ranks.size(); ++rank) {
      const bool ended = next_[rank] == plan_.ranks[rank].instructions.size();
      result.finished = result.finished && ended;
      result.stopped_at.push_back(ended ? kNone : static_cast<int>(next_[rank]));
    }
    return result;
  }

 private:
  /// False when the instruction must wait for another rank, which will wake this one.
  bool step(std::size_t rank, const Instruction& instruction) {
    double& clock = clock_[rank];
    if (const std::optional<PassOp> op = pass_of(instruction)) {
      clock += costs_.stages[static_cast<std::size_t>(op->stage)].seconds(op->pass);
      last_pass_end_ = std::max(last_pass_end_, clock);
      return true;
    }
    MessageState& message = messages_[static_cast<std::size_t>(instruction.message)];
    switch (instruction.kind) {
      case OpKind::kPostRecv:
        message.posted = clock;
        if (rule_ == SendRule::kRendezvous && message.sent != kNotYet)
          transfer(instruction.message);
        wake(message.sender);
        return true;
      case OpKind::kSend:
        message.sent = clock;
        if (rule_ == SendRule::kBuffered || message.posted != kNotYet)
          transfer(instruction.message);
        wake(message.receiver);
        return true;
      case OpKind::kWaitRecv:
        if (message.arrival == kNotYet) {
          message.receiver = static_cast<int>(rank);
          return false;
        }
        clock = std::max(clock, message.arrival);
        return true;
      case OpKind::kWaitSend:
        if (rule_ == SendRule::kBuffered) return true;
        if (message.arrival == kNotYet) {
          message.sender = static_cast<int>(rank);
          return false;
        }
        clock = std::max(clock, message.arrival);
        return true;
      case OpKind::kForward:
      case OpKind::kBackwardInput:
      case OpKind::kBackwardWeight:
        break;
    }
    return true;
  }

  /// Called when both ends that the rule asks for are known. The k-th send of a link is its k-th
  /// receive, so that messages of a link come here in their order.
  void transfer(int index) {
    MessageState& message = messages_[static_cast<std::size_t>(index)];
    const Message& ends = plan_.messages[static_cast<std::size_t>(index)];
    const double start =
        rule_ == SendRule::kBuffered ? message.sent : std::max(message.sent, message.posted);
    message.arrival = links_.arrival(ends.src_rank, ends.dst_rank, start);
  }

  void wake(int& rank) {
    if (rank != kNone) ready_.push_back(static_cast<std::size_t>(rank));
    rank = kNone;
  }

  const Plan& plan_;
  const CostModel& costs_;
  LinkClock links_;
  SendRule rule_;
  std::vector<MessageState> messages_;
  std::vector<std::size_t> next_;  // [rank]: instruction
  std::vector<double> clock_;      // [rank]: seconds
  std::deque<std::size_t> ready_;
  double last_pass_end_ = 0.0;
};

}  // namespace

Replay replay(const Plan& plan, const CostModel& costs, SendRule rule) {
  return Player(plan, costs, rule).play();
}

}  // namespace halfpipe::schedule
