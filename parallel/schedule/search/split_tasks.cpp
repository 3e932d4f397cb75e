// SPDX-License-Identifier: Apache-2.0
#include "parallel/schedule/search/split_tasks.h"

#include <algorithm>
#include <cstddef>
#include <limits>
#include <vector>

#include "parallel/schedule/search/lower_bound.h"

namespace halfpipe::schedule {
namespace {

double seconds_of(const LayerCost& layer) {
  return layer.cost.forward_seconds + layer.cost.backward_input_seconds +
         layer.cost.backward_weight_seconds;
}

/// From F on; what B adds depends on the last stage alone, and can_fit() sees it.
double bytes_of(const LayerCost& layer) {
  return static_cast<double>(layer.cost.forward_to_backward_input_bytes +
                             layer.cost.forward_to_backward_weight_bytes + layer.resident_bytes);
}

template <typename AmountOf>
LayerAmounts amounts(const LayeredModel& model, const AmountOf& amount_of) {
  LayerAmounts result{amount_of(model.embedding), {}, amount_of(model.head)};
  for (const LayerCost& block : model.blocks) result.blocks.push_back(amount_of(block));
  return result;
}

}  // namespace

PartitionTask partition_task_of(const JointProblem& problem, const Placement& placement) {
  PartitionTask task;
  task.load = amounts(problem.model, seconds_of);
  task.memory = amounts(problem.model, bytes_of);
  task.rank_slowness = problem.rank_slowness;
  if (task.rank_slowness.empty()) task.rank_slowness.assign(problem.memory_limit.size(), 1.0);
  for (const std::int64_t limit : problem.memory_limit) {
    task.memory_limit.push_back(static_cast<double>(limit));
  }
  if (placement.ends_share_rank()) {
    task.memory.head -= static_cast<double>(problem.model.shared_resident_bytes);
  }
  return task;
}

PartitionTask memory_task_of(PartitionTask task) {
  task.load = task.memory;
  for (std::size_t rank = 0; rank < task.memory_limit.size(); ++rank) {
    task.rank_slowness[rank] = 1.0 / std::max(1.0, task.memory_limit[rank]);
    task.memory_limit[rank] = std::numeric_limits<double>::infinity();
  }
  return task;
}

PartitionTask task_of_1f1b(PartitionTask task, int num_micro_batches) {
  const std::size_t p = task.memory_limit.size();
  for (std::size_t rank = 0; rank < p; ++rank) {
    task.memory_limit[rank] /=
        std::min(static_cast<double>(num_micro_batches), static_cast<double>(p - rank));
  }
  return task;
}

std::int64_t smallest_limit_of_any_split(const JointProblem& problem) {
  JointProblem roomy = problem;
  constexpr std::int64_t kRoom = std::int64_t{1} << 60;  // the same on every rank
  std::fill(roomy.memory_limit.begin(), roomy.memory_limit.end(), kRoom);
  std::int64_t smallest = std::numeric_limits<std::int64_t>::max();
  for (const Placement& placement : problem.placements) {
    std::vector<int> blocks;
    if (!problem.blocks_per_stage) {
      blocks = *balance_ranks(placement, memory_task_of(partition_task_of(roomy, placement)));
    } else if (static_cast<int>(problem.blocks_per_stage->size()) == placement.num_stages()) {
      blocks = *problem.blocks_per_stage;
    } else {
      continue;
    }
    const SearchProblem fixed = problem_of(roomy, {placement, blocks});
    const std::vector<std::int64_t> least = smallest_memory_limit(placement, fixed.costs);
    std::int64_t largest = 0;
    for (std::size_t rank = 0; rank < least.size(); ++rank) {
      const std::int64_t residents = kRoom - fixed.memory_limit[rank];
      largest = std::max(largest, least[rank] + residents);
    }
    smallest = std::min(smallest, largest);
  }
  return smallest;
}

double bound_of_any_split(const JointProblem& problem) {
  double least = std::numeric_limits<double>::infinity();
  for (const Placement& placement : problem.placements) {
    least = std::min(least, heaviest_rank_bound(placement, partition_task_of(problem, placement)));
  }
  return problem.num_micro_batches * least;
}

}  // namespace halfpipe::schedule
