// SPDX-License-Identifier: Apache-2.0
#include "parallel/schedule/assign_message_buffers.h"

#include <cstddef>
#include <functional>
#include <optional>
#include <queue>
#include <vector>

#include "parallel/schedule/hand_over.h"

namespace halfpipe::schedule {
namespace {

class LowestFree {
 public:
  int take() {
    if (free_.empty()) return num_buffers_++;
    const int buffer = free_.top();
    free_.pop();
    return buffer;
  }
  void give_back(int buffer) { free_.push(buffer); }
  [[nodiscard]] int num_buffers() const { return num_buffers_; }

 private:
  std::priority_queue<int, std::vector<int>, std::greater<>> free_;
  int num_buffers_ = 0;
};

/// The scan over one rank's program.
class Scan {
 public:
  explicit Scan(const Plan& plan)
      : plan_(plan),
        num_stages_(plan.placement.num_stages()),
        buffer_of_(static_cast<std::size_t>(2 * num_stages_) *
                       static_cast<std::size_t>(plan.num_micro_batches),
                   kNone) {}

  void visit(Instruction& instruction) {
    if (const std::optional<PassOp> op = pass_of(instruction)) {
      visit_pass(*op, instruction);
      return;
    }
    int& buffer = buffer_of(hand_over_of(message_of(instruction)));
    if (instruction.kind == OpKind::kPostRecv) {
      buffer = buffers_.take();
      instruction.output_buffer = buffer;
    } else if (instruction.kind == OpKind::kSend) {
      instruction.input_buffer = buffer;
    } else if (instruction.kind == OpKind::kWaitSend) {
      buffers_.give_back(buffer);
    }
  }

  [[nodiscard]] int num_buffers() const { return buffers_.num_buffers(); }

 private:
  void visit_pass(const PassOp& op, Instruction& instruction) {
    // The output is taken before the input is given back: a pass never writes what it reads.
    if (const auto output = output_of(op, num_stages_)) {
      instruction.output_buffer = buffers_.take();
      buffer_of(*output) = instruction.output_buffer;
    }
    if (const auto input = input_of(op, num_stages_)) {
      instruction.input_buffer = buffer_of(*input);
      if (instruction.input_buffer != kNone) buffers_.give_back(instruction.input_buffer);
    }
  }

  [[nodiscard]] const Message& message_of(const Instruction& instruction) const {
    return plan_.messages[static_cast<std::size_t>(instruction.message)];
  }
  [[nodiscard]] int& buffer_of(const HandOver& hand_over) {
    return buffer_of_[index_of(hand_over, num_stages_, plan_.num_micro_batches)];
  }

  const Plan& plan_;
  int num_stages_;
  std::vector<int> buffer_of_;  // [hand-over]
  LowestFree buffers_;
};

}  // namespace

void assign_message_buffers(Plan& plan) {
  for (RankPlan& rank : plan.ranks) {
    Scan scan(plan);
    for (Instruction& instruction : rank.instructions) scan.visit(instruction);
    rank.num_message_buffers = scan.num_buffers();
  }
}

}  // namespace halfpipe::schedule
