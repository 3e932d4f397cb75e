// SPDX-License-Identifier: Apache-2.0
#include "parallel/schedule/search/partition_moves.h"

#include <algorithm>
#include <cstddef>
#include <utility>

namespace halfpipe::schedule {
namespace {

// Sums of the same loads in another order differ in the last bits.
constexpr double kRelativeRounding = 1e-9;
// What improve() may cost at most: evaluations of a partition of 32 stages take some 0.3 us.
constexpr int kMostTries = 100000;

}  // namespace

PartitionMerit merit_of(const Placement& placement,
                        const PartitionTask& task,
                        const std::vector<int>& blocks_per_stage) {
  const auto ranks = static_cast<std::size_t>(placement.num_pipeline_ranks());
  std::vector<double> load(ranks, 0.0);
  std::vector<double> memory(ranks, 0.0);
  PartitionMerit merit{0.0, 0.0, 0.0, 0.0};
  std::size_t block = 0;
  for (std::size_t stage = 0; stage < blocks_per_stage.size(); ++stage) {
    const auto rank = static_cast<std::size_t>(placement.rank_of(static_cast<int>(stage)));
    double stage_load = 0.0;
    const auto host = [&](double layer_load, double layer_memory) {
      stage_load += task.rank_slowness[rank] * layer_load;
      memory[rank] += layer_memory;
    };
    if (stage == 0) host(task.load.embedding, task.memory.embedding);
    for (int i = 0; i < blocks_per_stage[stage]; ++i, ++block) {
      host(task.load.blocks[block], task.memory.blocks[block]);
    }
    if (stage + 1 == blocks_per_stage.size()) host(task.load.head, task.memory.head);
    load[rank] += stage_load;
    merit.heaviest_stage = std::max(merit.heaviest_stage, stage_load);
    merit.squares += stage_load * stage_load;
  }
  for (std::size_t rank = 0; rank < ranks; ++rank) {
    merit.excess_memory += std::max(0.0, memory[rank] - task.memory_limit[rank]);
    merit.heaviest_rank = std::max(merit.heaviest_rank, load[rank]);
  }
  return merit;
}

bool is_better(const PartitionMerit& one, const PartitionMerit& other) {
  for (const auto& [mine, theirs] : {std::pair{one.excess_memory, other.excess_memory},
                                     std::pair{one.heaviest_rank, other.heaviest_rank},
                                     std::pair{one.heaviest_stage, other.heaviest_stage},
                                     std::pair{one.squares, other.squares}}) {
    if (mine < theirs * (1.0 - kRelativeRounding)) return true;
    if (mine > theirs * (1.0 + kRelativeRounding)) return false;
  }
  return false;
}

std::vector<std::vector<int>> partitions_near(const std::vector<int>& blocks_per_stage) {
  std::vector<std::vector<int>> near;
  for (std::size_t from = 0; from < blocks_per_stage.size(); ++from) {
    if (blocks_per_stage[from] == 0) continue;
    for (std::size_t to = 0; to < blocks_per_stage.size(); ++to) {
      if (to == from) continue;
      near.push_back(blocks_per_stage);
      --near.back()[from];
      ++near.back()[to];
    }
  }
  return near;
}

std::vector<int> improve(const Placement& placement,
                         const PartitionTask& task,
                         std::vector<int> blocks_per_stage) {
  PartitionMerit best = merit_of(placement, task, blocks_per_stage);
  int tries = 0;
  const auto move_helps = [&](std::size_t from, std::size_t to) {
    if (from == to || blocks_per_stage[from] == 0) return false;
    ++tries;
    --blocks_per_stage[from];
    ++blocks_per_stage[to];
    const PartitionMerit merit = merit_of(placement, task, blocks_per_stage);
    if (is_better(merit, best)) {
      best = merit;
      return true;
    }
    ++blocks_per_stage[from];
    --blocks_per_stage[to];
    return false;
  };
  for (bool improved = true; improved && tries < kMostTries;) {
    improved = false;
    for (std::size_t from = 0; from < blocks_per_stage.size(); ++from) {
      for (std::size_t to = 0; to < blocks_per_stage.size(); ++to) {
        if (move_helps(from, to)) improved = true;
      }
    }
  }
  return blocks_per_stage;
}

}  // namespace halfpipe::schedule
