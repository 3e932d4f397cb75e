// SPDX-License-Identifier: Apache-2.0
// Rules on the message buffers: follows what each buffer holds through a rank's program.
#include <cstddef>
#include <optional>
#include <vector>

#include "parallel/schedule/describe_instruction.h"
#include "parallel/schedule/hand_over.h"
#include "parallel/schedule/validation_rules.h"

namespace halfpipe::schedule {
namespace {

enum class Holds : std::uint8_t { kNothing, kArriving, kValue, kLeaving };

struct BufferState {
  Holds holds = Holds::kNothing;
  HandOver value{};  // where holds is not kNothing
};

class BufferTracker {
 public:
  BufferTracker(const Plan& plan, std::size_t rank)
      : plan_(plan),
        rank_(rank),
        buffers_(static_cast<std::size_t>(plan.ranks[rank].num_message_buffers)) {}

  Violation visit(std::size_t index) {
    index_ = index;
    const Instruction& instruction = plan_.ranks[rank_].instructions[index];
    switch (instruction.kind) {
      case OpKind::kForward:
      case OpKind::kBackwardInput:
      case OpKind::kBackwardWeight:
        return run_pass(*pass_of(instruction), instruction);
      case OpKind::kPostRecv:
        return write(instruction.output_buffer, Holds::kArriving, value_of(instruction));
      case OpKind::kWaitRecv:
        return move_on(value_of(instruction), Holds::kArriving, Holds::kValue,
                       "the receive has not been posted");
      case OpKind::kSend:
        if (Violation violation = read(instruction.input_buffer, value_of(instruction))) {
          return violation;
        }
        state(instruction.input_buffer).holds = Holds::kLeaving;
        return std::nullopt;
      case OpKind::kWaitSend:
        return move_on(value_of(instruction), Holds::kLeaving, Holds::kNothing,
                       "the message has not been sent or was waited for already");
    }
    return std::nullopt;
  }

  /// Nothing may be open or unread when the program ends.
  Violation at_end() const {
    for (std::size_t b = 0; b < buffers_.size(); ++b) {
      if (buffers_[b].holds == Holds::kNothing) continue;
      return "rank " + std::to_string(rank_) + " ends while " + content(static_cast<int>(b));
    }
    return std::nullopt;
  }

 private:
  Violation run_pass(const PassOp& op, const Instruction& instruction) {
    const int num_stages = plan_.placement.num_stages();
    const std::optional<HandOver> input = input_of(op, num_stages);
    const std::optional<HandOver> output = output_of(op, num_stages);
    if (!input && instruction.input_buffer != kNone) return here("has an input but needs none");
    if (!output && instruction.output_buffer != kNone) return here("has an output but makes none");
    if (input) {
      if (Violation violation = read(instruction.input_buffer, *input)) return violation;
    }
    if (output) {
      if (Violation violation = write(instruction.output_buffer, Holds::kValue, *output)) {
        return violation;
      }
    }
    if (input) state(instruction.input_buffer).holds = Holds::kNothing;
    return std::nullopt;
  }

  Violation read(int buffer, const HandOver& wanted) {
    if (buffer == kNone) return here("has no buffer to read the " + describe(wanted) + " from");
    const BufferState& found = state(buffer);
    if (found.holds == Holds::kValue && found.value == wanted) return std::nullopt;
    return here("reads the " + describe(wanted) + ", but " + content(buffer));
  }

  Violation write(int buffer, Holds holds, const HandOver& value) {
    if (buffer == kNone) return here("has no buffer to write the " + describe(value) + " to");
    if (state(buffer).holds != Holds::kNothing) {
      return here("overwrites: " + content(buffer));
    }
    state(buffer) = {holds, value};
    return std::nullopt;
  }

  /// Ends a receive or a send.
  Violation move_on(const HandOver& value, Holds from, Holds to, const char* otherwise) {
    for (BufferState& buffer : buffers_) {
      if (buffer.holds != from || buffer.value != value) continue;
      buffer.holds = to;
      return std::nullopt;
    }
    return here(otherwise);
  }

  [[nodiscard]] std::string content(int buffer) const {
    const BufferState& found = buffers_[static_cast<std::size_t>(buffer)];
    std::string name = "message buffer " + std::to_string(buffer);
    switch (found.holds) {
      case Holds::kNothing:
        return name + " holds nothing";
      case Holds::kArriving:
        return "the " + describe(found.value) + " is still arriving in " + name;
      case Holds::kValue:
        return name + " holds the " + describe(found.value);
      case Holds::kLeaving:
        return "the " + describe(found.value) + " is still leaving " + name;
    }
    return name;
  }

  [[nodiscard]] std::string here(const std::string& text) const {
    return describe_at(plan_, static_cast<int>(rank_), static_cast<int>(index_)) + ": " + text;
  }
  [[nodiscard]] HandOver value_of(const Instruction& instruction) const {
    return hand_over_of(plan_.messages[static_cast<std::size_t>(instruction.message)]);
  }
  [[nodiscard]] BufferState& state(int buffer) {
    return buffers_[static_cast<std::size_t>(buffer)];
  }

  const Plan& plan_;
  std::size_t rank_;
  std::size_t index_ = 0;
  std::vector<BufferState> buffers_;
};

}  // namespace

Violation check_buffers(const Plan& plan) {
  for (std::size_t rank = 0; rank < plan.ranks.size(); ++rank) {
    BufferTracker tracker(plan, rank);
    for (std::size_t i = 0; i < plan.ranks[rank].instructions.size(); ++i) {
      if (Violation violation = tracker.visit(i)) return violation;
    }
    if (Violation violation = tracker.at_end()) return violation;
  }
  return std::nullopt;
}

}  // namespace halfpipe::schedule
