// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/step_trace.h"

#include <cstring>
#include <string>

namespace halfpipe::runtime {

namespace {

trace::TraceSpan describe(const schedule::Plan& plan,
                          const schedule::Instruction& instruction,
                          const InstructionTime& time) {
  const std::string kind = schedule::name_of(instruction.kind);
  trace::TraceSpan span;
  span.start = time.start;
  span.end = time.end;
  if (instruction.message == schedule::kNone) {
    span.name = kind + " " + std::to_string(instruction.micro_batch);
    span.category = kind;
    span.stage = instruction.stage;
    span.micro_batch = instruction.micro_batch;
    return span;
  }
  const schedule::Message& message = plan.messages[static_cast<std::size_t>(instruction.message)];
  span.name = kind + (message.is_gradient ? " gradient" : " activation");
  span.category = "communication";
  span.stage = message.to_stage;
  span.micro_batch = message.micro_batch;
  return span;
}

}  // namespace

std::vector<std::vector<trace::TraceSpan>> gather_step_trace(
    const schedule::Plan& plan,
    const std::vector<InstructionTime>& my_times,
    transport::Transport& transport) {
  const auto gathered = transport.all_gather(std::as_bytes(std::span(my_times)));
  std::vector<std::vector<trace::TraceSpan>> ranks;
  for (std::size_t rank = 0; rank < gathered.size(); ++rank) {
    std::vector<InstructionTime> times(gathered[rank].size() / sizeof(InstructionTime));
    std::memcpy(times.data(), gathered[rank].data(), gathered[rank].size());
    std::vector<trace::TraceSpan>& spans = ranks.emplace_back();
    const auto& instructions = plan.ranks[rank].instructions;
    for (std::size_t i = 0; i < times.size() && i < instructions.size(); ++i) {
      spans.push_back(describe(plan, instructions[i], times[i]));
    }
  }
  return ranks;
}

}  // namespace halfpipe::runtime
