// SPDX-License-Identifier: Apache-2.0
// The building blocks of the named schedules, for every number of pipeline ranks p >= 1.
#pragma once

#include "parallel/schedule/building_block.h"

namespace halfpipe::schedule {

/// 1F1B (PipeDream, Narayanan et al. 2019; synchronous form in arXiv:2104.04473): backward follows
/// forward as soon as it can, and W follows B at once. Rank r keeps p - r micro-batches in flight.
[[nodiscard]] BuildingBlock one_f_one_b_block(int num_pipeline_ranks);

/// 1F1B-V (named in arXiv:2405.15362, section 5; this block is ours): 1F1B on the V placement, W
/// right behind B on every rank. F takes one slot per hop, B two or five, three on average: a rank
/// more makes the lifespans 8 slots longer, and every rank keeps floor(2p/3) + 1 units in flight. A
/// gradient could leave after W as well; ours leave after B.
[[nodiscard]] BuildingBlock one_f_one_b_v_block(int num_pipeline_ranks);

/// V-Min (Qi et al. 2024, arXiv:2405.15362, section 4): one slot per hop in both directions. F and
/// B only; about p/3 units in flight on every rank.
[[nodiscard]] BuildingBlock v_min_block(int num_pipeline_ranks);

/// V-Half (the same section): two slots per hop on the way down, one on the way up. F and B only;
/// about p/2 units in flight on every rank.
[[nodiscard]] BuildingBlock v_half_block(int num_pipeline_ranks);

/// W4: the speeds of V-Half on a zigzag of four stages per rank. F and B only. Its memory is
/// V-Half's and its passes are half as long, so that its ends wait about three quarters as long,
/// for twice the messages. The speeds are ours; four chunks with balanced lifespans are the family
/// of Qi et al. 2024 (arXiv:2405.15362, section 3) on a longer zigzag.
[[nodiscard]] BuildingBlock w4_block(int num_pipeline_ranks);

}  // namespace halfpipe::schedule
