// SPDX-License-Identifier: Apache-2.0
#include "parallel/schedule/place_weight_passes.h"

#include <cstddef>
#include <functional>
#include <limits>
#include <optional>
#include <queue>
#include <string>
#include <utility>
#include <vector>

#include "parallel/schedule/link_clock.h"
#include "parallel/schedule/pass_graph.h"
#include "parallel/schedule/schedule_error.h"
#include "parallel/schedule/simulate.h"

namespace halfpipe::schedule {
namespace {

constexpr double kUnknown = std::numeric_limits<double>::infinity();

class WeightPlacer {
 public:
  WeightPlacer(const StageOrders& orders, const CostModel& costs, const WeightPassPolicy& policy)
      : orders_(orders),
        costs_(costs),
        policy_(policy),
        links_(costs, orders.placement.num_pipeline_ranks()),
        ranks_(orders.ranks.size()),
        available_(orders.placement.num_stages(), orders.num_micro_batches, kUnknown) {
    for (int micro_batch = 0; micro_batch < orders.num_micro_batches; ++micro_batch) {
      available_[{Pass::kForward, 0, micro_batch}] = 0.0;
    }
    for (std::size_t rank = 0; rank < ranks_.size(); ++rank) events_.push({0.0, rank});
  }

  StageOrders run() {
    while (!events_.empty()) {
      const auto [now, rank] = events_.top();
      events_.pop();
      if (ranks_[rank].free_at > now) continue;
      if (const std::optional<PassOp> op = choose(rank, now)) start(*op, rank, now);
    }
    StageOrders placed{orders_.name, orders_.placement, orders_.num_micro_batches, {}};
    for (std::size_t rank = 0; rank < ranks_.size(); ++rank) {
      if (ranks_[rank].next < orders_.ranks[rank].size()) {
        throw ScheduleError("the schedule '" + orders_.name + "' cannot run on rank " +
                            std::to_string(rank) + " with memory for " +
                            std::to_string(policy_.max_in_flight) + " stage activations");
      }
      placed.ranks.push_back(std::move(ranks_[rank].placed));
    }
    return placed;
  }

 private:
  using Event = std::pair<double, std::size_t>;  // seconds, rank that may have something to do

  struct Rank {
    double free_at = 0.0;
    int in_flight = 0;           // F started, W not ended
    std::size_t next = 0;        // in orders.ranks[rank]
    std::queue<PassOp> pending;  // W, in the order of their B
    std::vector<PassOp> placed;
  };

  std::optional<PassOp> choose(std::size_t rank_index, double now) const {
    const Rank& rank = ranks_[rank_index];
    const std::optional<PassOp> weight =
        rank.pending.empty() ? std::nullopt : std::optional(rank.pending.front());
    if (rank.next == orders_.ranks[rank_index].size()) return weight;
    const PassOp& op = orders_.ranks[rank_index][rank.next];
    const bool has_memory = op.pass != Pass::kForward || rank.in_flight < policy_.max_in_flight;
    if (!has_memory) return weight;
    if (available_[op] <= now) return op;
    if (!weight) return std::nullopt;
    const double needed =
        policy_.least_share_in_wait *
        costs_.stages[static_cast<std::size_t>(weight->stage)].seconds(Pass::kBackwardWeight);
    return available_[op] - now >= needed ? weight : std::nullopt;
  }

  void start(const PassOp& op, std::size_t rank_index, double now) {
    Rank& rank = ranks_[rank_index];
    const double end = now + costs_.stages[static_cast<std::size_t>(op.stage)].seconds(op.pass);
    rank.placed.push_back(op);
    rank.free_at = end;
    events_.push({end, rank_index});
    if (op.pass == Pass::kBackwardWeight) {
      rank.pending.pop();
      --rank.in_flight;
      return;
    }
    ++rank.next;
    if (op.pass == Pass::kForward) ++rank.in_flight;
    if (op.pass == Pass::kBackwardInput) {
      rank.pending.push({Pass::kBackwardWeight, op.stage, op.micro_batch});
    }
    hand_over(op, rank_index, end);
  }

  void hand_over(const PassOp& op, std::size_t rank_index, double end) {
    const int num_stages = orders_.placement.num_stages();
    if (op.pass == Pass::kForward && op.stage == num_stages - 1) {
      available_[{Pass::kBackwardInput, op.stage, op.micro_batch}] = end;
    }
    if (const std::optional<PassOp> consumer = neighbour_consumer(op, num_stages)) {
      const int other = orders_.placement.rank_of(consumer->stage);
      const double arrival = links_.arrival(static_cast<int>(rank_index), other, end);
      available_[*consumer] = arrival;
      events_.push({arrival, static_cast<std::size_t>(other)});
    }
  }

  const StageOrders& orders_;
  const CostModel& costs_;
  const WeightPassPolicy& policy_;
  LinkClock links_;
  std::vector<Rank> ranks_;
  PassTable<double> available_;  // when the input of a pass is on its rank; kUnknown: not yet known
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
};

}  // namespace

StageOrders place_weight_passes(const StageOrders& orders,
                                const CostModel& costs,
                                const WeightPassPolicy& policy) {
  return WeightPlacer(orders, costs, policy).run();
}

StageOrders best_weight_placement(const std::vector<StageOrders>& candidates,
                                  const CostModel& costs,
                                  int max_in_flight) {
  std::optional<StageOrders> best;
  std::pair<double, double> best_times;
  for (const StageOrders& candidate : candidates) {
    for (const double share : {0.0, 0.25, 0.5, 0.75, 1.0}) {
      StageOrders placed = place_weight_passes(candidate, costs, {max_in_flight, share});
      const Timeline timeline = simulate(placed, costs);
      const std::pair<double, double> times{timeline.span, timeline.makespan};
      if (best && !(times < best_times)) continue;
      best = std::move(placed);
      best_times = times;
    }
  }
  return *best;
}

StageOrders without_weight_passes(StageOrders orders) {
  for (std::vector<PassOp>& ops : orders.ranks) {
    std::erase_if(ops, [](const PassOp& op) { return op.pass == Pass::kBackwardWeight; });
  }
  return orders;
}

}  // namespace halfpipe::schedule
