// SPDX-License-Identifier: Apache-2.0
#include "parallel/schedule/hand_over.h"

namespace halfpipe::schedule {

std::optional<HandOver> input_of(const PassOp& op, int num_stages) {
  if (op.pass == Pass::kForward && op.stage > 0) {
    return HandOver{false, op.stage - 1, op.micro_batch};
  }
  if (op.pass == Pass::kBackwardInput && op.stage < num_stages - 1) {
    return HandOver{true, op.stage + 1, op.micro_batch};
  }
  return std::nullopt;
}

std::optional<HandOver> output_of(const PassOp& op, int num_stages) {
  if (op.pass == Pass::kForward && op.stage < num_stages - 1) {
    return HandOver{false, op.stage, op.micro_batch};
  }
  if (op.pass == Pass::kBackwardInput && op.stage > 0) {
    return HandOver{true, op.stage, op.micro_batch};
  }
  return std::nullopt;
}

HandOver hand_over_of(const Message& message) {
  return {message.is_gradient, message.from_stage, message.micro_batch};
}

std::size_t index_of(const HandOver& hand_over, int num_stages, int num_micro_batches) {
  const int row = (hand_over.is_gradient ? num_stages : 0) + hand_over.from_stage;
  return static_cast<std::size_t>(row) * static_cast<std::size_t>(num_micro_batches) +
         static_cast<std::size_t>(hand_over.micro_batch);
}

std::string describe(const HandOver& hand_over) {
  return std::string(hand_over.is_gradient ? "gradient" : "activation") + " of stage " +
         std::to_string(hand_over.from_stage) + ", micro-batch " +
         std::to_string(hand_over.micro_batch);
}

}  // namespace halfpipe::schedule
