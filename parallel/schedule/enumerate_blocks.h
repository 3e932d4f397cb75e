// SPDX-License-Identifier: Apache-2.0
// Every uniform building block of the V placement that fits a memory limit. The named V blocks are
// points of this continuum (the adaptive family of Qi et al. 2024, arXiv:2405.15362, is a part of
// it); a memory limit between two names has blocks of its own.
#pragma once

#include <vector>

#include "parallel/schedule/building_block.h"
#include "parallel/schedule/zigzag_block.h"

namespace halfpipe::schedule {

/// A member of the V family on p ranks. Figures are those of the block with its W passes in, on the
/// rank that needs most.
struct VBlock {
  ZigzagTravel travel;  // for zigzag_block
  int peak;             // predicted_peak: stage activations
  int lifespan;         // slots
  int trip_slots;       // from the first F to the last B of a micro-batch, on rank 0
};

/// All V blocks whose hops and turns take 1 to 6 slots, that have no defect, and whose peak is at
/// most `max_in_flight` stage activations per rank. Cheap first: by lifespan, then by trip, then by
/// travel. More than 6 slots would only repeat the collisions of an interval of 6 at a longer
/// lifespan. A block runs within `max_in_flight` = peak of block_schedule. Empty where nothing
/// fits.
[[nodiscard]] std::vector<VBlock> enumerate_v_blocks(int num_pipeline_ranks, int max_in_flight);

}  // namespace halfpipe::schedule
