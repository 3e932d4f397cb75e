// SPDX-License-Identifier: Apache-2.0
#include "parallel/schedule/search/partition_packing.h"

#include <algorithm>
#include <limits>

namespace halfpipe::schedule {
namespace {

// Differences of sums may be off in the last bits of the sums.
constexpr double kRelativeRounding = 1e-13;

std::vector<double> sums_of(const std::vector<double>& amounts) {
  std::vector<double> before{0.0};
  for (const double amount : amounts) before.push_back(before.back() + amount);
  return before;
}

}  // namespace

Packing::Packing(const Placement& placement, const PartitionTask& task)
    : placement_(placement),
      task_(task),
      load_before_(sums_of(task.load.blocks)),
      memory_before_(sums_of(task.memory.blocks)) {}

Packing::Load Packing::blocks(std::size_t first, std::size_t end) const {
  return {load_before_[end] - load_before_[first], memory_before_[end] - memory_before_[first]};
}

bool Packing::fits(std::size_t rank, Load load, double most, bool within_memory) const {
  const double slowness = task_.rank_slowness[rank];
  if (slowness * (load.load - kRelativeRounding * load_before_.back()) > most) return false;
  return !within_memory ||
         load.memory - kRelativeRounding * memory_before_.back() <= task_.memory_limit[rank];
}

std::optional<std::vector<int>> Packing::pack_stages(double most, bool within_memory) const {
  const std::size_t num_blocks = task_.load.blocks.size();
  const auto num_stages = static_cast<std::size_t>(placement_.num_stages());
  std::vector<int> counts;
  std::size_t first = 0;
  // A stage that takes all it can leaves the least to the ones behind it.
  for (std::size_t stage = 0; stage < num_stages; ++stage) {
    const auto rank = static_cast<std::size_t>(placement_.rank_of(static_cast<int>(stage)));
    Load ends{0.0, 0.0};
    if (stage == 0) ends = {task_.load.embedding, task_.memory.embedding};
    if (stage + 1 == num_stages) {
      ends.load += task_.load.head;
      ends.memory += task_.memory.head;
    }
    const auto can_take_up_to = [&](std::size_t end) {
      const Load taken = blocks(first, end);
      return fits(rank, {ends.load + taken.load, ends.memory + taken.memory}, most, within_memory);
    };
    if (!can_take_up_to(first)) return std::nullopt;
    std::size_t end = first;
    while (end < num_blocks && can_take_up_to(end + 1)) ++end;
    counts.push_back(static_cast<int>(end - first));
    first = end;
  }
  if (first < num_blocks) return std::nullopt;
  return counts;
}

// Rank k of a V takes blocks from both ends of what ranks 0 .. k-1 left. Of two ways to leave
// blocks that begin with the same one, the way that leaves fewer is never worse, so one number for
// every first block says all: O(ranks x blocks^2).
std::optional<std::vector<int>> Packing::pack_v(double most) const {
  constexpr std::size_t kNone = std::numeric_limits<std::size_t>::max();
  const std::size_t num_blocks = task_.load.blocks.size();
  const auto p = static_cast<std::size_t>(placement_.num_pipeline_ranks());
  // end[k][i]: ranks 0 .. k-1 can leave blocks i .. end-1, and no fewer from i on.
  std::vector<std::vector<std::size_t>> end(p + 1, std::vector<std::size_t>(num_blocks + 1, kNone));
  std::vector<std::vector<std::size_t>> came_from = end;
  end[0][0] = num_blocks;
  for (std::size_t rank = 0; rank < p; ++rank) {
    Load both_ends{0.0, 0.0};
    if (rank == 0) {
      both_ends = {task_.load.embedding + task_.load.head,
                   task_.memory.embedding + task_.memory.head};
    }
    for (std::size_t i = 0; i <= num_blocks; ++i) {
      const std::size_t j = end[rank][i];
      if (j == kNone) continue;
      std::size_t new_j = i;
      for (std::size_t new_i = i; new_i <= j; ++new_i) {
        const Load left = blocks(i, new_i);
        const auto takes_down_to = [&](std::size_t block) {
          const Load right = blocks(block, j);
          return fits(rank,
                      {both_ends.load + left.load + right.load,
                       both_ends.memory + left.memory + right.memory},
                      most, true);
        };
        // With more from the left there is room for less from the right.
        new_j = std::max(new_j, new_i);
        while (new_j <= j && !takes_down_to(new_j)) ++new_j;
        if (new_j > j) break;
        if (new_j < end[rank + 1][new_i]) {
          end[rank + 1][new_i] = new_j;
          came_from[rank + 1][new_i] = i;
        }
      }
    }
  }
  std::vector<int> counts(2 * p, 0);
  for (std::size_t last = 0; last <= num_blocks; ++last) {
    if (end[p][last] != last) continue;
    std::size_t i = last;
    for (std::size_t rank = p; rank-- > 0;) {
      const std::size_t from = came_from[rank + 1][i];
      counts[rank] = static_cast<int>(i - from);
      counts[2 * p - 1 - rank] = static_cast<int>(end[rank][from] - end[rank + 1][i]);
      i = from;
    }
    return counts;
  }
  return std::nullopt;
}

}  // namespace halfpipe::schedule
