// SPDX-License-Identifier: Apache-2.0
// All three goals are reached by handing out one block at a time to the least loaded taker: the
// limits that a heaviest rank and a heaviest stage set are nested capacities, and under those the
// greedy choice is optimal for a sum of convex costs.
#include "parallel/schedule/partition.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>

#include "parallel/schedule/schedule_error.h"

namespace halfpipe::schedule {
namespace {

// Loads are sums of the same few costs in different orders: equal ones may differ in the last bits.
constexpr double kRelativeRounding = 1e-9;

void require_sizes(int num_blocks, double block_cost, double first_extra, double last_extra) {
  const auto is_cost = [](double cost) { return std::isfinite(cost) && cost >= 0.0; };
  if (num_blocks < 0) {
    throw ScheduleError("the number of blocks to partition must not be negative, it is " +
                        std::to_string(num_blocks));
  }
  if (!is_cost(block_cost) || block_cost == 0.0 || !is_cost(first_extra) || !is_cost(last_extra)) {
    throw ScheduleError(
        "costs to partition by must be finite, of a block above 0 and of the ends "
        "at least 0; they are " +
        std::to_string(block_cost) + ", " + std::to_string(first_extra) + " and " +
        std::to_string(last_extra));
  }
}

/// Blocks that fit under `limit` beside `extra`.
int capacity(double limit, double extra, double block_cost) {
  const double slack = kRelativeRounding * std::max(limit, block_cost);
  return static_cast<int>(std::floor(std::max(0.0, limit - extra + slack) / block_cost));
}

class Partition {
 public:
  Partition(const Placement& placement, double block_cost, double first_extra, double last_extra)
      : placement_(placement),
        block_cost_(block_cost),
        stage_extra_(static_cast<std::size_t>(placement.num_stages()), 0.0),
        rank_extra_(static_cast<std::size_t>(placement.num_pipeline_ranks()), 0.0) {
    stage_extra_.front() += first_extra;
    stage_extra_.back() += last_extra;
    for (std::size_t s = 0; s < stage_extra_.size(); ++s)
      rank_extra_[rank_of(s)] += stage_extra_[s];
  }

  [[nodiscard]] std::vector<int> solve(int num_blocks) const {
    const double rank_limit = lightest_heaviest_rank(num_blocks);
    std::vector<int> rank_capacity;
    for (const double extra : rank_extra_) {
      rank_capacity.push_back(capacity(rank_limit, extra, block_cost_));
    }
    const double stage_limit = lightest_heaviest_stage(num_blocks, rank_capacity);
    std::vector<int> blocks(stage_extra_.size(), 0);
    for (int i = 0; i < num_blocks; ++i) {
      const std::size_t stage = least_loaded_stage(blocks, rank_capacity, stage_limit);
      ++blocks[stage];
      --rank_capacity[rank_of(stage)];
    }
    return blocks;
  }

 private:
  /// Chunks do not matter here: a rank is as heavy as all that it hosts.
  [[nodiscard]] double lightest_heaviest_rank(int num_blocks) const {
    std::vector<int> blocks(rank_extra_.size(), 0);
    const auto load_with_one_more = [&](std::size_t rank) {
      return rank_extra_[rank] + (blocks[rank] + 1) * block_cost_;
    };
    double heaviest = *std::max_element(rank_extra_.begin(), rank_extra_.end());
    for (int i = 0; i < num_blocks; ++i) {
      std::size_t best = 0;
      for (std::size_t rank = 1; rank < blocks.size(); ++rank) {
        if (load_with_one_more(rank) < load_with_one_more(best)) best = rank;
      }
      heaviest = std::max(heaviest, load_with_one_more(best));
      ++blocks[best];
    }
    return heaviest;
  }

  /// The heaviest stage carries one of the three kinds of extra and some number of blocks.
  [[nodiscard]] double lightest_heaviest_stage(int num_blocks,
                                               const std::vector<int>& rank_capacity) const {
    const double least = *std::max_element(stage_extra_.begin(), stage_extra_.end());
    std::vector<double> limits{least};
    for (const double extra : {0.0, stage_extra_.front(), stage_extra_.back()}) {
      for (int n = 1; n <= num_blocks; ++n) {
        if (extra + n * block_cost_ > least) limits.push_back(extra + n * block_cost_);
      }
    }
    std::sort(limits.begin(), limits.end());
    return *std::partition_point(limits.begin(), limits.end() - 1, [&](double limit) {
      return total_capacity(limit, rank_capacity) < num_blocks;
    });
  }

  [[nodiscard]] int total_capacity(double stage_limit,
                                   const std::vector<int>& rank_capacity) const {
    std::vector<int> of_rank(rank_capacity.size(), 0);
    for (std::size_t s = 0; s < stage_extra_.size(); ++s) {
      of_rank[rank_of(s)] += capacity(stage_limit, stage_extra_[s], block_cost_);
    }
    int total = 0;
    for (std::size_t r = 0; r < of_rank.size(); ++r)
      total += std::min(of_rank[r], rank_capacity[r]);
    return total;
  }

  [[nodiscard]] std::size_t least_loaded_stage(const std::vector<int>& blocks,
                                               const std::vector<int>& rank_capacity,
                                               double stage_limit) const {
    const auto load = [&](std::size_t s) { return stage_extra_[s] + blocks[s] * block_cost_; };
    const auto has_room = [&](std::size_t s) {
      return rank_capacity[rank_of(s)] > 0 &&
             blocks[s] < capacity(stage_limit, stage_extra_[s], block_cost_);
    };
    std::size_t best = blocks.size();
    for (std::size_t s = blocks.size(); s-- > 0;) {
      if (!has_room(s)) continue;
      if (best == blocks.size() || load(s) < load(best) - kRelativeRounding * block_cost_) best = s;
    }
    return best;
  }

  [[nodiscard]] std::size_t rank_of(std::size_t stage) const {
    return static_cast<std::size_t>(placement_.rank_of(static_cast<int>(stage)));
  }

  const Placement& placement_;
  double block_cost_;
  std::vector<double> stage_extra_;  // [num_stages]
  std::vector<double> rank_extra_;   // [num_pipeline_ranks]
};

}  // namespace

std::vector<int> partition_blocks(const Placement& placement,
                                  int num_blocks,
                                  double block_cost,
                                  double first_stage_extra,
                                  double last_stage_extra) {
  require_sizes(num_blocks, block_cost, first_stage_extra, last_stage_extra);
  return Partition(placement, block_cost, first_stage_extra, last_stage_extra).solve(num_blocks);
}

}  // namespace halfpipe::schedule
