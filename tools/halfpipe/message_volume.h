// SPDX-License-Identifier: Apache-2.0
// What a step sends from rank to rank.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/runtime/planning/job.h"
#include "parallel/schedule/plan.h"

namespace halfpipe::tools {

/// All messages of a step that go one way between two ranks.
struct LinkVolume {
  int from_rank;
  int to_rank;
  std::int64_t activations;  // messages
  std::int64_t gradients;    // messages
  std::int64_t bytes;
};

/// By from_rank, then to_rank; pairs of ranks that send nothing are left out.
[[nodiscard]] std::vector<LinkVolume> message_volume(const schedule::Plan& plan);

/// What the ranks of the first and the last stage send each other once per step, each way: the
/// gradient of a tied embedding. 0 where it is not tied, or where one rank has both stages.
[[nodiscard]] std::int64_t tied_gradient_bytes(const runtime::Job& job);

}  // namespace halfpipe::tools
