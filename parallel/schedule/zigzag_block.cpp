// SPDX-License-Identifier: Apache-2.0
#include "parallel/schedule/zigzag_block.h"

#include <cstddef>

namespace halfpipe::schedule {

BuildingBlock zigzag_block(const std::string& name,
                           int num_pipeline_ranks,
                           const ZigzagTravel& travel) {
  const int p = num_pipeline_ranks;
  const std::size_t num_chunks = travel.forward_hops.size();
  const Placement placement(PlacementKind::kZigzag, p, static_cast<int>(num_chunks));
  BuildingBlock block{name, placement, kNumPasses * placement.num_chunks(), {}};
  int start = 0;
  for (std::size_t chunk = 0; chunk < num_chunks; ++chunk) {
    if (chunk > 0) start += travel.forward_turns[chunk - 1];
    for (int hop = 0; hop < p; ++hop) {
      if (hop > 0) start += travel.forward_hops[chunk];
      block.slots.push_back({static_cast<int>(chunk) * p + hop, Pass::kForward, start});
    }
  }
  start += travel.turn_to_backward;
  for (std::size_t chunk = num_chunks; chunk-- > 0;) {
    if (chunk + 1 < num_chunks) start += travel.backward_turns[chunk];
    for (int hop = p - 1; hop >= 0; --hop) {
      if (hop < p - 1) start += travel.backward_hops[chunk];
      block.slots.push_back({static_cast<int>(chunk) * p + hop, Pass::kBackwardInput, start});
    }
  }
  return block;
}

}  // namespace halfpipe::schedule
