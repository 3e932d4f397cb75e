// SPDX-License-Identifier: Apache-2.0
#include "parallel/schedule/blocks.h"

#include <array>
#include <cstddef>
#include <vector>

#include "parallel/schedule/zigzag_block.h"

namespace halfpipe::schedule {
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

BuildingBlock one_f_one_b_v_block(int num_pipeline_ranks) {
  // F, F, BW and BW fill the interval without a gap, so at constant speeds two of them would meet.
  // These two sequences of hops keep them apart for ever; of all that do with B of two slots at
  // least, none has a smaller mean.
  constexpr std::array<int, 6> kHopsDown = {2, 5, 2, 2, 2, 5};
  constexpr std::array<int, 6> kHopsUp = {2, 2, 5, 2, 5, 2};  // read from rank 0 to rank p-1
  struct Ends {
    int first_hop, forward_turn, turn_to_backward, backward_turn;
  };
  // Found by trying turns of 1 to 6 slots: these stay within floor(2p/3) + 1 units for every p of
  // the remainder, with spans among the shortest.
  constexpr std::array<Ends, 3> kEndsByRemainder = {{{1, 1, 4, 2}, {0, 1, 1, 2}, {0, 5, 1, 4}}};
  const int p = num_pipeline_ranks;
  const Ends& ends = kEndsByRemainder[static_cast<std::size_t>(p % 3)];
  BuildingBlock block{"1f1b-v", Placement(PlacementKind::kV, p, 2), 2 * kNumPasses, {}};
  const auto add_backward = [&block](int stage, int start) {
    block.slots.push_back({stage, Pass::kBackwardInput, start});
    block.slots.push_back({stage, Pass::kBackwardWeight, start + 1});
  };
  for (int stage = 0; stage < 2 * p; ++stage) {
    block.slots.push_back({stage, Pass::kForward, stage + (stage < p ? 0 : ends.forward_turn - 1)});
  }
  int start = block.slots.back().start + ends.turn_to_backward;
  for (int rank = 0; rank < p; ++rank) {
    add_backward(block.placement.stage_of(rank, 1), start);
    if (rank < p - 1) start += kHopsDown[static_cast<std::size_t>((ends.first_hop + rank) % 6)];
  }
  start += ends.backward_turn;
  for (int rank = p - 1; rank >= 0; --rank) {
    add_backward(block.placement.stage_of(rank, 0), start);
    if (rank > 0) start += kHopsUp[static_cast<std::size_t>((ends.first_hop + rank - 1) % 6)];
  }
  return block;
}

BuildingBlock v_min_block(int num_pipeline_ranks) {
  // The two extra slots keep passes of a rank apart modulo 6 where p is a multiple of 3.
  const int extra = num_pipeline_ranks % 3 == 0 ? 2 : 0;
  return zigzag_block("v-min", num_pipeline_ranks,
                      {.forward_hops = {1, 1},
                       .forward_turns = {1},
                       .turn_to_backward = 1 + extra,
                       .backward_hops = {1, 1},
                       .backward_turns = {1}});
}

BuildingBlock v_half_block(int num_pipeline_ranks) {
  // As above, where p is even.
  const int extra = num_pipeline_ranks % 2 == 0 ? 3 : 0;
  return zigzag_block("v-half", num_pipeline_ranks,
                      {.forward_hops = {2, 1},
                       .forward_turns = {1},
                       .turn_to_backward = 1 + extra,
                       .backward_hops = {1, 2},
                       .backward_turns = {2}});
}

BuildingBlock w4_block(int num_pipeline_ranks) {
  // Found by trying all turns of 1 to 6 slots: of those that keep passes of a rank apart modulo 12
  // within V-Half's memory for every p of this remainder, the ones with the shortest spans at 2p
  // micro-batches.
  struct Turns {
    std::vector<int> forward;
    int to_backward;
    std::vector<int> backward;
  };
  static const std::array<Turns, 4> kTurnsByRemainder = {{
      {{2, 2, 4}, 1, {4, 2, 5}},
      {{1, 2, 1}, 1, {2, 1, 2}},
      {{2, 1, 2}, 4, {1, 2, 1}},
      {{1, 1, 2}, 1, {2, 1, 2}},
  }};
  const Turns& turns = kTurnsByRemainder[static_cast<std::size_t>(num_pipeline_ranks % 4)];
  return zigzag_block("w4", num_pipeline_ranks,
                      {.forward_hops = {2, 1, 2, 1},
                       .forward_turns = turns.forward,
                       .turn_to_backward = turns.to_backward,
                       .backward_hops = {1, 2, 1, 2},
                       .backward_turns = turns.backward});
}

}  // namespace halfpipe::schedule
