// SPDX-License-Identifier: Apache-2.0
// What a joint search asks of partition_layers.h: the model's time or memory, to be balanced.
#pragma once

#include <cstdint>

#include "parallel/schedule/placement.h"
#include "parallel/schedule/search/layered_model.h"
#include "parallel/schedule/search/lower_bound.h"
#include "parallel/schedule/search/partition_layers.h"

namespace halfpipe::schedule {

/// The loads and memory of a model's layers, seconds of all three passes and the bytes that one
/// micro-batch and the residents take.
[[nodiscard]] PartitionTask partition_task_of(const JointProblem& problem,
                                              const Placement& placement);

/// The same with memory as the load, as a share of each rank's limit.
[[nodiscard]] PartitionTask memory_task_of(PartitionTask task);

/// For a linear placement whose ranks hold as many micro-batches as those of 1F1B: p - rank.
[[nodiscard]] PartitionTask task_of_1f1b(PartitionTask task, int num_micro_batches);

/// No placement, no layers per stage (but those that are given) and no orders within the limits
/// take less: the larger of the busiest rank's work, or the bound of given stages, and of what all
/// ranks' memory allows, by the time for which each layer keeps its activations at least. Infinite
/// when no layers per stage fit the limits.
[[nodiscard]] LowerBound bound_of_any_split(const JointProblem& problem);

/// With this much on every rank some split has a schedule, on the placement that needs least.
[[nodiscard]] std::int64_t smallest_limit_of_any_split(const JointProblem& problem);

}  // namespace halfpipe::schedule
