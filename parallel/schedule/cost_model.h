// SPDX-License-Identifier: Apache-2.0
// What every pass costs in time and memory, per stage. No schedule code assumes that two stages or
// passes cost the same.
#pragma once

#include <cstdint>
#include <vector>

#include "parallel/schedule/pass.h"

namespace halfpipe::schedule {

/// Cost of one stage for one micro-batch.
struct StageCost {
  double forward_seconds = 1.0;
  double backward_input_seconds = 1.0;
  double backward_weight_seconds = 1.0;
  // Activation bytes by lifetime: from the start of F, until B or W of the micro-batch ends, or
  // from the start of B to the end of W (output gradients that W needs).
  std::int64_t forward_to_backward_input_bytes = 0;
  std::int64_t forward_to_backward_weight_bytes = 1;
  std::int64_t backward_input_to_backward_weight_bytes = 0;

  [[nodiscard]] double seconds(Pass pass) const {
    switch (pass) {
      case Pass::kForward:
        return forward_seconds;
      case Pass::kBackwardInput:
        return backward_input_seconds;
      case Pass::kBackwardWeight:
        return backward_weight_seconds;
    }
    return 0.0;
  }
};

/// Costs of a whole pipeline. Hand-over between two stages of one rank is free.
struct CostModel {
  std::vector<StageCost> stages;   // [num_stages]
  double message_seconds = 0.0;    // one activation or gradient between two ranks
  std::int64_t message_bytes = 0;  // of one such message
};

}  // namespace halfpipe::schedule
