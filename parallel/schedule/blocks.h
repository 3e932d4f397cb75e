// SPDX-License-Identifier: Apache-2.0
// The building blocks of the named schedules, for every number of pipeline ranks p >= 1.
#pragma once

#include "parallel/schedule/building_block.h"

namespace halfpipe::schedule {

/// 1F1B (PipeDream, Narayanan et al. 2019; synchronous form in arXiv:2104.04473): backward follows
/// forward as soon as it can, and W follows B at once. Rank r keeps p - r micro-batches in flight.
[[nodiscard]] BuildingBlock one_f_one_b_block(int num_pipeline_ranks);

/// V-Min (Qi et al. 2024, arXiv:2405.15362, section 4): one slot per hop in both directions. F and
/// B only; about p/3 units in flight on every rank.
[[nodiscard]] BuildingBlock v_min_block(int num_pipeline_ranks);

/// V-Half (the same section): two slots per hop on the way down, one on the way up. F and B only;
/// about p/2 units in flight on every rank.
[[nodiscard]] BuildingBlock v_half_block(int num_pipeline_ranks);

}  // namespace halfpipe::schedule
