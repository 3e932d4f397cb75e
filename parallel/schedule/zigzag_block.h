// SPDX-License-Identifier: Apache-2.0
// The family of building blocks on zigzag placements: a micro-batch travels down the ranks and up
// again at a steady speed on each leg. V-Min and V-Half (Qi et al. 2024, arXiv:2405.15362, section
// 4) are two of its members; slower legs mean longer lifespans, thus more memory, and shorter
// waits.
#pragma once

#include <string>
#include <vector>

#include "parallel/schedule/building_block.h"

namespace halfpipe::schedule {

/// Slots from the start of a pass to the start of the pass that reads its output; 1 is as soon as
/// it can. A leg is the way of F, or of B, through the stages of one chunk.
struct ZigzagTravel {
  std::vector<int> forward_hops;    // [num_chunks], from rank to rank on the leg of each chunk
  std::vector<int> forward_turns;   // [num_chunks - 1], F of chunk c to F of chunk c + 1
  int turn_to_backward;             // F to B of the last stage
  std::vector<int> backward_hops;   // [num_chunks], on the leg of each chunk
  std::vector<int> backward_turns;  // [num_chunks - 1], B of chunk c + 1 to B of chunk c

  // See PassOp for the reason.
  friend auto operator<=>(const ZigzagTravel&,
                          const ZigzagTravel&) = default;  // NOLINT(modernize-use-nullptr)
};

/// A block of F and B passes with room for W: its interval is three slots per chunk. first_defect
/// tells whether it can be repeated; most combinations of speeds collide.
[[nodiscard]] BuildingBlock zigzag_block(const std::string& name,
                                         int num_pipeline_ranks,
                                         const ZigzagTravel& travel);

}  // namespace halfpipe::schedule
