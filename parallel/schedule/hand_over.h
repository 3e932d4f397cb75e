// SPDX-License-Identifier: Apache-2.0
// What passes of neighbouring stages hand to each other: an activation from stage s to s+1, a
// gradient from stage s to s-1.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "parallel/schedule/pass.h"
#include "parallel/schedule/plan.h"

namespace halfpipe::schedule {

struct HandOver {
  bool is_gradient;
  int from_stage;
  int micro_batch;

  [[nodiscard]] int to_stage() const { return is_gradient ? from_stage - 1 : from_stage + 1; }

  friend bool operator==(const HandOver&, const HandOver&) = default;
};

/// What `op` reads: F of every stage but the first, B of every stage but the last.
[[nodiscard]] std::optional<HandOver> input_of(const PassOp& op, int num_stages);
/// What `op` writes: F of every stage but the last, B of every stage but the first.
[[nodiscard]] std::optional<HandOver> output_of(const PassOp& op, int num_stages);
[[nodiscard]] HandOver hand_over_of(const Message& message);

/// Numbers all hand-overs of a run: 0 .. 2 * num_stages * num_micro_batches - 1.
[[nodiscard]] std::size_t index_of(const HandOver& hand_over,
                                   int num_stages,
                                   int num_micro_batches);

/// "activation of stage 0, micro-batch 3"
[[nodiscard]] std::string describe(const HandOver& hand_over);

}  // namespace halfpipe::schedule
