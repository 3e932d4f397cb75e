// SPDX-License-Identifier: Apache-2.0
#include "parallel/schedule/describe_instruction.h"

#include "parallel/schedule/hand_over.h"

namespace halfpipe::schedule {

std::string describe(const Plan& plan, const Instruction& instruction) {
  const std::string name = name_of(instruction.kind);
  if (pass_of(instruction)) {
    return name + " of stage " + std::to_string(instruction.stage) + ", micro-batch " +
           std::to_string(instruction.micro_batch);
  }
  if (instruction.message == kNone) return name + " of no message";
  const Message& message = plan.messages[static_cast<std::size_t>(instruction.message)];
  const bool sends = instruction.kind == OpKind::kSend || instruction.kind == OpKind::kWaitSend;
  const std::string peer = sends ? " to rank " + std::to_string(message.dst_rank)
                                 : " from rank " + std::to_string(message.src_rank);
  return name + peer + " of message " + std::to_string(instruction.message) + " (" +
         describe(hand_over_of(message)) + ")";
}

std::string describe_at(const Plan& plan, int pipeline_rank, int instruction_index) {
  const RankPlan& rank = plan.ranks[static_cast<std::size_t>(pipeline_rank)];
  return "rank " + std::to_string(pipeline_rank) + ", instruction " +
         std::to_string(instruction_index) + " (" +
         describe(plan, rank.instructions[static_cast<std::size_t>(instruction_index)]) + ")";
}

}  // namespace halfpipe::schedule
