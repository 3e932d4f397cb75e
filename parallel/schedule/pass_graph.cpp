// SPDX-License-Identifier: Apache-2.0
#include "parallel/schedule/pass_graph.h"

namespace halfpipe::schedule {

std::optional<PassOp> neighbour_input(const PassOp& op, int num_stages) {
  if (op.pass == Pass::kForward && op.stage > 0) {
    return PassOp{Pass::kForward, op.stage - 1, op.micro_batch};
  }
  if (op.pass == Pass::kBackwardInput && op.stage < num_stages - 1) {
    return PassOp{Pass::kBackwardInput, op.stage + 1, op.micro_batch};
  }
  return std::nullopt;
}

std::optional<PassOp> neighbour_consumer(const PassOp& op, int num_stages) {
  if (op.pass == Pass::kForward && op.stage < num_stages - 1) {
    return PassOp{Pass::kForward, op.stage + 1, op.micro_batch};
  }
  if (op.pass == Pass::kBackwardInput && op.stage > 0) {
    return PassOp{Pass::kBackwardInput, op.stage - 1, op.micro_batch};
  }
  return std::nullopt;
}

std::optional<PassOp> own_input(const PassOp& op) {
  switch (op.pass) {
    case Pass::kForward:
      return std::nullopt;
    case Pass::kBackwardInput:
      return PassOp{Pass::kForward, op.stage, op.micro_batch};
    case Pass::kBackwardWeight:
      return PassOp{Pass::kBackwardInput, op.stage, op.micro_batch};
  }
  return std::nullopt;
}

}  // namespace halfpipe::schedule
