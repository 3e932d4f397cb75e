// SPDX-License-Identifier: Apache-2.0
// The order in which every pipeline rank runs its passes: what a schedule generator produces and
// every later step reads.
#pragma once

#include <string>
#include <vector>

#include "parallel/schedule/pass.h"
#include "parallel/schedule/placement.h"

namespace halfpipe::schedule {

struct StageOrders {
  std::string name;  // of the schedule, as the user wrote it
  Placement placement;
  int num_micro_batches;
  std::vector<std::vector<PassOp>>
      ranks;  // [num_pipeline_ranks][ops of that rank, in execution order]
};

}  // namespace halfpipe::schedule
