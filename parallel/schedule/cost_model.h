// SPDX-License-Identifier: Apache-2.0
// What every pass costs in time and memory, per stage. No schedule code assumes that two stages or
// passes cost the same.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
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

/// The way from one rank to another; the way back may cost something else.
struct LinkCost {
  double latency_seconds = 0.0;
  double bytes_per_second = std::numeric_limits<double>::infinity();
};

/// Costs of a whole pipeline. Hand-over between two stages of one rank is free. A rank runs one
/// pass at a time. Copies of activations to host memory would be passes of a second engine of the
/// rank, between F and B: two more times and a fourth lifetime per stage, beside those above.
struct CostModel {
  std::vector<StageCost> stages;   // [num_stages]
  double message_seconds = 0.0;    // one activation or gradient between two ranks, without links
  std::int64_t message_bytes = 0;  // of one such message
  // [from_rank][to_rank], in place of message_seconds; empty: every message takes that.
  std::vector<std::vector<LinkCost>> links = {};
  // On one link a message leaves only when the bytes of the one before have gone: its latency may
  // overlap with theirs, its bytes may not. Needs links.
  bool one_message_at_a_time = false;

  /// From the moment in which a message leaves to its arrival; 0 on one rank.
  [[nodiscard]] double message_seconds_between(int from_rank, int to_rank) const {
    if (from_rank == to_rank) return 0.0;
    if (links.empty()) return message_seconds;
    return link(from_rank, to_rank).latency_seconds + transfer_seconds(from_rank, to_rank);
  }

  /// How much later than a message the next one on the same link leaves at the earliest.
  [[nodiscard]] double occupancy_seconds_between(int from_rank, int to_rank) const {
    if (!one_message_at_a_time || links.empty() || from_rank == to_rank) return 0.0;
    return transfer_seconds(from_rank, to_rank);
  }

 private:
  [[nodiscard]] const LinkCost& link(int from_rank, int to_rank) const {
    return links[static_cast<std::size_t>(from_rank)][static_cast<std::size_t>(to_rank)];
  }
  [[nodiscard]] double transfer_seconds(int from_rank, int to_rank) const {
    return static_cast<double>(message_bytes) / link(from_rank, to_rank).bytes_per_second;
  }
};

}  // namespace halfpipe::schedule
