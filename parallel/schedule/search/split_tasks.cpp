// SPDX-License-Identifier: Apache-2.0
#include "parallel/schedule/search/split_tasks.h"

#include <algorithm>
#include <cstddef>
#include <functional>
#include <limits>
#include <queue>
#include <utility>
#include <vector>

#include "parallel/schedule/schedule_error.h"

namespace halfpipe::schedule {
namespace {

constexpr double kInfinite = std::numeric_limits<double>::infinity();
constexpr double kRounding = 1e-9;  // far more than sums of this length lose

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

bool has_given_stages(const JointProblem& problem, const Placement& placement) {
  return static_cast<int>(problem.blocks_per_stage->size()) == placement.num_stages();
}

/// Bytes that a layer keeps of one micro-batch times the shortest time that it can keep them:
/// summed over all layers, for ranks of ordinary speed. A layer's stage keeps them from the start
/// of its F until its B or W has ended, and in between come F of this layer and of all later ones,
/// B of all later ones and of this one, and W of this one, one after the other, wherever they run.
double least_byte_seconds(const LayeredModel& model) {
  double byte_seconds = 0.0;
  double round_trip = 0.0;  // F and B from this layer on
  const auto add = [&](const LayerCost& layer) {
    const StageCost& cost = layer.cost;
    round_trip += cost.forward_seconds + cost.backward_input_seconds;
    const double weight = cost.backward_weight_seconds;
    byte_seconds +=
        static_cast<double>(cost.forward_to_backward_input_bytes) * round_trip +
        static_cast<double>(cost.forward_to_backward_weight_bytes) * (round_trip + weight) +
        static_cast<double>(cost.backward_input_to_backward_weight_bytes) *
            (cost.backward_input_seconds + weight);
  };
  add(model.head);
  std::for_each(model.blocks.rbegin(), model.blocks.rend(), add);
  add(model.embedding);
  return byte_seconds;
}

/// What residents leave of all limits together, bytes.
double room_on(const JointProblem& problem, const Placement& placement) {
  const LayerAmounts residents = amounts(problem.model, [](const LayerCost& layer) {
    return static_cast<double>(layer.resident_bytes);
  });
  double room = -residents.embedding - residents.head;
  for (const double bytes : residents.blocks) room -= bytes;
  for (const std::int64_t limit : problem.memory_limit) room += static_cast<double>(limit);
  if (placement.ends_share_rank()) {
    room += static_cast<double>(problem.model.shared_resident_bytes);
  }
  return room;
}

/// A rank's activations take at most its limit for at most its span, so all ranks' limits times the
/// longest span are no less than the byte-seconds of all micro-batches.
double memory_time_bound(const JointProblem& problem, const Placement& placement) {
  const std::vector<double>& slowness = problem.rank_slowness;
  const double fastest =
      slowness.empty() ? 1.0 : *std::min_element(slowness.begin(), slowness.end());
  const double needed = problem.num_micro_batches * fastest * least_byte_seconds(problem.model);
  if (needed <= 0.0) return 0.0;
  const double room = room_on(problem, placement);
  return room > 0.0 ? (1.0 - kRounding) * needed / room : kInfinite;
}

/// The busiest rank if equal blocks could lie on any ranks, the embedding and the head where the
/// placement has them: each goes where it makes least. 0 where blocks differ.
double busiest_of_equal_blocks(const Placement& placement, const PartitionTask& task) {
  const std::vector<double>& blocks = task.load.blocks;
  if (std::adjacent_find(blocks.begin(), blocks.end(), std::not_equal_to<>()) != blocks.end()) {
    return 0.0;
  }
  const std::vector<double>& slowness = task.rank_slowness;
  std::vector<double> loads(slowness.size(), 0.0);
  const auto add = [&](std::size_t rank, double load) { loads[rank] += slowness[rank] * load; };
  add(static_cast<std::size_t>(placement.rank_of(0)), task.load.embedding);
  add(static_cast<std::size_t>(placement.rank_of(placement.num_stages() - 1)), task.load.head);
  double busiest = *std::max_element(loads.begin(), loads.end());
  using Next = std::pair<double, std::size_t>;  // load with one more block, rank
  std::priority_queue<Next, std::vector<Next>, std::greater<>> next;
  const double load = blocks.empty() ? 0.0 : blocks.front();
  for (std::size_t rank = 0; rank < loads.size(); ++rank) {
    next.emplace(loads[rank] + slowness[rank] * load, rank);
  }
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    const auto [with_block, rank] = next.top();
    next.pop();
    busiest = std::max(busiest, with_block);
    next.emplace(with_block + slowness[rank] * load, rank);
  }
  return (1.0 - kRounding) * busiest;
}

/// Of given stages: their own bound, infinite where they do not fit.
LowerBound bound_of_given(const JointProblem& problem, const Placement& placement) {
  try {
    return lower_bound(problem_of(problem, {placement, *problem.blocks_per_stage}));
  } catch (const ScheduleError&) {
    return {kInfinite, "the stages do not fit the memory limits"};
  }
}

LowerBound bound_on(const JointProblem& problem, const Placement& placement) {
  LowerBound bound;
  if (problem.blocks_per_stage) {
    bound = bound_of_given(problem, placement);
  } else {
    const PartitionTask task = partition_task_of(problem, placement);
    const double busiest =
        std::max(heaviest_rank_bound(placement, task), busiest_of_equal_blocks(placement, task));
    bound = {problem.num_micro_batches * busiest,
             "the busiest rank's work alone, whatever layers it has"};
  }
  const double by_memory = memory_time_bound(problem, placement);
  if (by_memory <= bound.seconds) return bound;
  return {by_memory,
          "all ranks' memory, for the shortest time that each layer can keep its activations"};
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
    } else if (has_given_stages(problem, placement)) {
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

LowerBound bound_of_any_split(const JointProblem& problem) {
  LowerBound least{kInfinite, "no layers per stage fit the memory limits"};
  for (const Placement& placement : problem.placements) {
    if (problem.blocks_per_stage && !has_given_stages(problem, placement)) continue;
    LowerBound bound = bound_on(problem, placement);
    if (bound.seconds < least.seconds) least = std::move(bound);
  }
  return least;
}

}  // namespace halfpipe::schedule
