// SPDX-License-Identifier: Apache-2.0
#include "parallel/schedule/search/known_blocks.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <utility>

#include "parallel/schedule/compact.h"
#include "parallel/schedule/enumerate_blocks.h"
#include "parallel/schedule/place_weight_passes.h"
#include "parallel/schedule/schedule_error.h"
#include "parallel/schedule/zigzag_block.h"

namespace halfpipe::schedule {
namespace {

// A W that starts in a wait too short for half of it delays what the rank waits for by too much:
// on 8 to 32 ranks the best blocks are 0.01 of bubble shorter than with every wait filled. Now and
// then more of it has to fit.
constexpr double kLeastShareInWait = 0.5;
constexpr double kLargerShareInWait = 0.75;
// Rounds of compact() after which a whole step hardly gets better.
constexpr int kRounds = 2;
// A round takes some ten times as long as making as many passes from a policy.
constexpr std::int64_t kEvaluationsPerRound = 10 * kEvaluationsPerPolicy;

struct Scored {
  double cost;  // seconds of the objective for the short step
  std::size_t block;
};

class BlockStarts {
 public:
  explicit BlockStarts(const SearchProblem& problem)
      : problem_(problem),
        max_in_flight_(most_in_flight(problem)),
        // The blocks that use the memory best come first.
        blocks_(enumerate_v_blocks(problem.placement.num_pipeline_ranks(), max_in_flight_)) {
    std::reverse(blocks_.begin(), blocks_.end());
  }

  [[nodiscard]] std::size_t num_blocks() const { return blocks_.size(); }
  [[nodiscard]] int short_step() const {
    return std::min(problem_.num_micro_batches, 2 * problem_.placement.num_pipeline_ranks());
  }
  [[nodiscard]] std::int64_t evaluations_per_round(int num_micro_batches) const {
    return kEvaluationsPerRound * num_micro_batches / problem_.num_micro_batches;
  }
  [[nodiscard]] double cost(const StageOrders& orders) const {
    return cost_of(simulate(orders, problem_.costs), problem_.objective);
  }

  /// The block, repeated, with W passes of its own.
  [[nodiscard]] StageOrders repeated(std::size_t block, int num_micro_batches) const {
    const int p = problem_.placement.num_pipeline_ranks();
    return unroll(with_weight_passes(zigzag_block("block", p, blocks_[block].travel)),
                  num_micro_batches);
  }

  /// Passes at both ends moved up, W passes put anew. Nothing where they do not fit.
  [[nodiscard]] std::optional<StageOrders> next_round(const StageOrders& orders) const {
    return with_weights_put(compact(orders, max_in_flight_), kLeastShareInWait);
  }
  [[nodiscard]] std::optional<StageOrders> with_weights_put(StageOrders orders,
                                                            double least_share) const {
    try {
      return place_weight_passes(without_weight_passes(std::move(orders)), problem_.costs,
                                 {max_in_flight_, least_share});
    } catch (const ScheduleError&) {
      return std::nullopt;
    }
  }

 private:
  const SearchProblem& problem_;
  int max_in_flight_;
  std::vector<VBlock> blocks_;
};

/// Short steps of all blocks, best first.
std::vector<Scored> rank_blocks(const BlockStarts& starts,
                                int num_threads,
                                std::vector<Lane>& lanes,
                                double until) {
  std::vector<std::vector<Scored>> by_lane(lanes.size());
  run_lanes(lanes, num_threads, [&](Lane& lane) {
    for (std::size_t block = lane.index; block < starts.num_blocks(); block += lanes.size()) {
      if (lane.budget.used() >= until) return;
      lane.budget.count(starts.evaluations_per_round(starts.short_step()));
      const auto orders = starts.next_round(starts.repeated(block, starts.short_step()));
      if (orders) by_lane[lane.index].push_back({starts.cost(*orders), block});
    }
  });
  std::vector<Scored> all;
  for (const std::vector<Scored>& some : by_lane) all.insert(all.end(), some.begin(), some.end());
  std::sort(all.begin(), all.end(), [](const Scored& one, const Scored& other) {
    return one.cost != other.cost ? one.cost < other.cost : one.block < other.block;
  });
  // Blocks of equal cost are nearly always one schedule, found more than once.
  const auto same = [](const Scored& one, const Scored& other) { return one.cost == other.cost; };
  all.erase(std::unique(all.begin(), all.end(), same), all.end());
  return all;
}

}  // namespace

int most_in_flight(const SearchProblem& problem) {
  std::int64_t most = std::numeric_limits<int>::max();
  for (int stage = 0; stage < problem.placement.num_stages(); ++stage) {
    const StageCost& cost = problem.costs.stages[static_cast<std::size_t>(stage)];
    const std::int64_t bytes = cost.forward_to_backward_input_bytes +
                               cost.forward_to_backward_weight_bytes +
                               cost.backward_input_to_backward_weight_bytes;
    const auto rank = static_cast<std::size_t>(problem.placement.rank_of(stage));
    if (bytes > 0) most = std::min(most, problem.memory_limit[rank] / bytes);
  }
  return static_cast<int>(most);
}

void offer_v_blocks(const SearchProblem& problem,
                    int num_threads,
                    std::vector<Lane>& lanes,
                    double until,
                    OrderSearch& search) {
  if (problem.placement.kind() != PlacementKind::kV) return;
  const BlockStarts starts(problem);
  const double used = lanes.front().budget.used();
  const std::vector<Scored> ranked =
      rank_blocks(starts, num_threads, lanes, used + 0.5 * (until - used));
  std::vector<std::vector<StageOrders>> made(lanes.size());
  run_lanes(lanes, num_threads, [&](Lane& lane) {
    for (std::size_t i = lane.index; i < ranked.size(); i += lanes.size()) {
      StageOrders orders = starts.repeated(ranked[i].block, problem.num_micro_batches);
      for (int round = 0; round < kRounds; ++round) {
        if (lane.budget.used() >= until) return;
        lane.budget.count(starts.evaluations_per_round(problem.num_micro_batches));
        const auto next = starts.next_round(orders);
        if (!next || next->ranks == orders.ranks) break;
        const auto other = starts.with_weights_put(*next, kLargerShareInWait);
        if (other) made[lane.index].push_back(*other);
        made[lane.index].push_back(*next);
        orders = *next;
      }
    }
  });
  for (const std::vector<StageOrders>& some : made) {
    for (const StageOrders& orders : some) search.offer(orders);
  }
}

}  // namespace halfpipe::schedule
