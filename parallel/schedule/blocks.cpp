// SPDX-License-Identifier: Apache-2.0
#include "parallel/schedule/blocks.h"

namespace halfpipe::schedule {
namespace {

/// Where a micro-batch of a V block travels: `slots_down` slots per hop from rank 0 to rank p-1 (F
/// of chunk 0, B of chunk 1), one slot per hop on the way back (F of chunk 1, B of chunk 0).
struct VTravel {
  int slots_down;
  int slots_before_backward;  // between F and B of the last stage, on rank 0
  int slots_before_return;    // between B of chunk 1 and of chunk 0 on rank p-1
};

BuildingBlock v_block(const char* name, int p, const VTravel& travel) {
  // Two chunks of three passes each fill a rank's interval.
  BuildingBlock block{name, Placement(PlacementKind::kV, p, 2), 2 * kNumPasses, {}};
  const int bottom = p - 1;
  const int forward_return = travel.slots_down * bottom + 1;
  const int backward = forward_return + bottom + travel.slots_before_backward;
  const int backward_return = backward + travel.slots_down * bottom + travel.slots_before_return;
  for (int rank = 0; rank < p; ++rank) {
    const int down = block.placement.stage_of(rank, 0);
    const int up = block.placement.stage_of(rank, 1);
    block.slots.push_back({down, Pass::kForward, travel.slots_down * rank});
    block.slots.push_back({up, Pass::kForward, forward_return + bottom - rank});
    block.slots.push_back({up, Pass::kBackwardInput, backward + travel.slots_down * rank});
    block.slots.push_back({down, Pass::kBackwardInput, backward_return + bottom - rank});
  }
  return block;
}

}  // namespace

BuildingBlock one_f_one_b_block(int num_pipeline_ranks) {
  const int p = num_pipeline_ranks;
  BuildingBlock block{"1f1b", Placement(PlacementKind::kLinear, p, 1), kNumPasses, {}};
  for (int rank = 0; rank < p; ++rank) {
    const int backward = p + 2 * (p - 1 - rank);  // after p forwards, and B and W of later ranks
    block.slots.push_back({rank, Pass::kForward, rank});
    block.slots.push_back({rank, Pass::kBackwardInput, backward});
    block.slots.push_back({rank, Pass::kBackwardWeight, backward + 1});
  }
  return block;
}

BuildingBlock v_min_block(int num_pipeline_ranks) {
  // The two extra slots keep passes of a rank apart modulo 6 where p is a multiple of 3.
  const int extra = num_pipeline_ranks % 3 == 0 ? 2 : 0;
  return v_block("v-min", num_pipeline_ranks,
                 {.slots_down = 1, .slots_before_backward = 1 + extra, .slots_before_return = 1});
}

BuildingBlock v_half_block(int num_pipeline_ranks) {
  // As above, where p is even.
  const int extra = num_pipeline_ranks % 2 == 0 ? 3 : 0;
  return v_block("v-half", num_pipeline_ranks,
                 {.slots_down = 2, .slots_before_backward = 1 + extra, .slots_before_return = 2});
}

}  // namespace halfpipe::schedule
