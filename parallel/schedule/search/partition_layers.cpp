// SPDX-License-Identifier: Apache-2.0
#include "parallel/schedule/search/partition_layers.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

#include "parallel/schedule/partition.h"
#include "parallel/schedule/search/partition_moves.h"
#include "parallel/schedule/search/partition_packing.h"

namespace halfpipe::schedule {
namespace {

constexpr double kInfinite = std::numeric_limits<double>::infinity();
// Bisection ends when the limit is known this well.
constexpr double kRelativeWidth = 1e-10;

/// The partition that pack(most) finds for the smallest possible `most`. load_of(partition) is what
/// `most` limits.
template <typename Pack, typename LoadOf>
std::optional<std::vector<int>> lightest(const Pack& pack, const LoadOf& load_of) {
  std::optional<std::vector<int>> best = pack(kInfinite);
  if (!best) return best;
  double possible = load_of(*best);
  double impossible = 0.0;
  while (possible - impossible > kRelativeWidth * possible) {
    const double most = impossible + (possible - impossible) / 2.0;
    std::optional<std::vector<int>> found = pack(most);
    if (found) {
      possible = std::min(most, load_of(*found));
      best = std::move(found);
    } else {
      impossible = most;
    }
  }
  return best;
}

bool is_exact(const Placement& placement) {
  return placement.num_chunks() == 1 || placement.kind() == PlacementKind::kV;
}

std::optional<std::vector<int>> lightest_ranks(const Placement& placement,
                                               const PartitionTask& task) {
  const Packing packing(placement, task);
  return lightest(
      [&](double most) {
        return placement.num_chunks() == 1 ? packing.pack_stages(most, true) : packing.pack_v(most);
      },
      [&](const std::vector<int>& blocks) { return heaviest_rank(placement, task, blocks); });
}

double sum_of(const LayerAmounts& amounts) {
  return std::accumulate(amounts.blocks.begin(), amounts.blocks.end(),
                         amounts.embedding + amounts.head);
}

/// As if blocks and ranks were alike: the best there is where they are.
std::vector<int> balance_alike(const Placement& placement, const LayerAmounts& load) {
  const auto num_blocks = static_cast<int>(load.blocks.size());
  const double blocks = sum_of(load) - load.embedding - load.head;
  const double mean = num_blocks == 0 || blocks <= 0.0 ? 1.0 : blocks / num_blocks;
  return partition_blocks(placement, num_blocks, mean, load.embedding, load.head);
}

}  // namespace

std::optional<std::vector<int>> balance_ranks(const Placement& placement,
                                              const PartitionTask& task) {
  std::vector<std::vector<int>> starts{balance_alike(placement, task.load)};
  if (is_exact(placement)) {
    std::optional<std::vector<int>> exact = lightest_ranks(placement, task);
    if (!exact) return exact;
    starts.push_back(std::move(*exact));
  } else {
    starts.push_back(balance_stages(placement, task));
  }
  std::vector<int> best;
  PartitionMerit best_merit{kInfinite, kInfinite, kInfinite, kInfinite};
  for (std::vector<int>& start : starts) {
    std::vector<int> blocks = improve(placement, task, std::move(start));
    const PartitionMerit merit = merit_of(placement, task, blocks);
    if (!best.empty() && !is_better(merit, best_merit)) continue;
    best = std::move(blocks);
    best_merit = merit;
  }
  if (best_merit.excess_memory > 0.0) return std::nullopt;
  return best;
}

std::vector<int> balance_stages(const Placement& placement, const PartitionTask& task) {
  const Packing packing(placement, task);
  return *lightest([&](double most) { return packing.pack_stages(most, false); },
                   [&](const std::vector<int>& blocks) {
                     return merit_of(placement, task, blocks).heaviest_stage;
                   });
}

double heaviest_rank(const Placement& placement,
                     const PartitionTask& task,
                     const std::vector<int>& blocks_per_stage) {
  return merit_of(placement, task, blocks_per_stage).heaviest_rank;
}

double heaviest_rank_bound(const Placement& placement, const PartitionTask& task) {
  constexpr double kRounding = 1e-9;
  if (is_exact(placement)) {
    const std::optional<std::vector<int>> blocks = lightest_ranks(placement, task);
    return blocks ? (1.0 - kRounding) * heaviest_rank(placement, task, *blocks) : kInfinite;
  }
  if (sum_of(task.memory) >
      std::accumulate(task.memory_limit.begin(), task.memory_limit.end(), 0.0)) {
    return kInfinite;
  }
  // Work shared out as if it were sand; no less than the largest piece on the fastest rank.
  double speed = 0.0;
  for (const double slowness : task.rank_slowness) speed += 1.0 / slowness;
  double largest = sum_of(task.load) / speed;
  const double fastest = *std::min_element(task.rank_slowness.begin(), task.rank_slowness.end());
  for (const double load : task.load.blocks) largest = std::max(largest, load * fastest);
  const auto slowness_of = [&](int stage) {
    return task.rank_slowness[static_cast<std::size_t>(placement.rank_of(stage))];
  };
  largest = std::max(largest, task.load.embedding * slowness_of(0));
  largest = std::max(largest, task.load.head * slowness_of(placement.num_stages() - 1));
  return (1.0 - kRounding) * largest;
}

}  // namespace halfpipe::schedule
