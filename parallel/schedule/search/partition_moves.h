// SPDX-License-Identifier: Apache-2.0
// A partition improved block by block.
#pragma once

#include <vector>

#include "parallel/schedule/placement.h"
#include "parallel/schedule/search/partition_layers.h"

namespace halfpipe::schedule {

/// How good a partition is by its loads alone; the first figures count most.
struct PartitionMerit {
  double excess_memory;  // beyond the limits of all ranks
  double heaviest_rank;  // slowness counted, as in the two below
  double heaviest_stage;
  double squares;  // of the stages' loads
};

[[nodiscard]] PartitionMerit merit_of(const Placement& placement,
                                      const PartitionTask& task,
                                      const std::vector<int>& blocks_per_stage);

/// Figures that differ by no more than rounding are equal.
[[nodiscard]] bool is_better(const PartitionMerit& one, const PartitionMerit& other);

/// One stage has a block less, another one more; stages between keep their numbers, so that all
/// their blocks move by one. Those from or to neighbours move one block only.
[[nodiscard]] std::vector<std::vector<int>> partitions_near(
    const std::vector<int>& blocks_per_stage);

/// Moves of partitions_near as long as one makes the partition better.
[[nodiscard]] std::vector<int> improve(const Placement& placement,
                                       const PartitionTask& task,
                                       std::vector<int> blocks_per_stage);

}  // namespace halfpipe::schedule
