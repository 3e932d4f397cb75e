// SPDX-License-Identifier: Apache-2.0
#include "parallel/schedule/forward_orders.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include "parallel/schedule/link_clock.h"

namespace halfpipe::schedule {
namespace {

// Micro-batches that wait in front of a stage, beside those that are still on their way to it:
// enough for a stage that is slower than those before it to have one whenever it is free.
constexpr int kMostWaiting = 3;
constexpr double kNever = std::numeric_limits<double>::infinity();

/// The pass that a rank would run next and when it could start.
struct Candidate {
  int stage = -1;
  double start = kNever;  // seconds
};

class ForwardSimulation {
 public:
  ForwardSimulation(const Placement& placement, int num_micro_batches, const CostModel& costs)
      : placement_(placement),
        num_micro_batches_(num_micro_batches),
        costs_(costs),
        links_(costs, placement.num_pipeline_ranks()),
        next_micro_batch_(static_cast<std::size_t>(placement.num_stages()), 0),
        arrival_(static_cast<std::size_t>(placement.num_stages())),
        end_(static_cast<std::size_t>(placement.num_stages())),
        free_at_(static_cast<std::size_t>(placement.num_pipeline_ranks()), 0.0) {
    arrival_[0].assign(static_cast<std::size_t>(num_micro_batches), 0.0);
    std::vector<double> work(free_at_.size(), 0.0);
    for (int stage = 0; stage < placement.num_stages(); ++stage) {
      work[static_cast<std::size_t>(placement.rank_of(stage))] +=
          costs.stages[static_cast<std::size_t>(stage)].forward_seconds;
    }
    period_ = *std::max_element(work.begin(), work.end());
  }

  StageOrders run() {
    StageOrders orders{"forward", placement_, num_micro_batches_, {}};
    orders.ranks.resize(free_at_.size());
    // The rank that can start first runs its pass; of several, the lowest. Then every pass that
    // starts at one time has been decided with all that ended before.
    for (int left = placement_.num_stages() * num_micro_batches_; left > 0; --left) {
      Candidate best;
      for (int rank = 0; rank < placement_.num_pipeline_ranks(); ++rank) {
        const Candidate candidate = candidate_of(rank);
        if (candidate.start < best.start) best = candidate;
      }
      const int micro_batch = take(best);
      orders.ranks[static_cast<std::size_t>(placement_.rank_of(best.stage))].push_back(
          {Pass::kForward, best.stage, micro_batch});
    }
    return orders;
  }

 private:
  Candidate candidate_of(int rank) const {
    Candidate best;
    for (int chunk = placement_.num_chunks() - 1; chunk >= 0; --chunk) {
      const int stage = placement_.stage_of(rank, chunk);
      const auto next =
          static_cast<std::size_t>(next_micro_batch_[static_cast<std::size_t>(stage)]);
      const std::vector<double>& arrivals = arrival_[static_cast<std::size_t>(stage)];
      if (next >= arrivals.size()) continue;
      const double start = std::max(
          {arrivals[next], free_at_[static_cast<std::size_t>(rank)], room_at(stage, next)});
      if (start < best.start) best = {stage, start};
    }
    return best;
  }

  /// When the stage after this one has room for one more micro-batch; kNever: not known yet.
  double room_at(int stage, std::size_t micro_batch) const {
    if (stage + 1 == placement_.num_stages()) return 0.0;
    const std::size_t most = most_ahead(stage);
    if (micro_batch < most) return 0.0;
    const std::vector<double>& ends = end_[static_cast<std::size_t>(stage) + 1];
    return micro_batch - most < ends.size() ? ends[micro_batch - most] : kNever;
  }

  /// Micro-batches by which a stage may be ahead of the next one. A micro-batch leaves the pipeline
  /// every period_ seconds at most; in that rhythm both passes and the message between them fit.
  std::size_t most_ahead(int stage) const {
    const double message =
        costs_.message_seconds_between(placement_.rank_of(stage), placement_.rank_of(stage + 1));
    const double on_their_way = std::ceil(message / period_);
    if (!(on_their_way < num_micro_batches_)) {  // where passes take no time, NaN or infinity
      return static_cast<std::size_t>(num_micro_batches_);
    }
    return static_cast<std::size_t>(on_their_way) + kMostWaiting;
  }

  /// Runs the candidate's pass; returns its micro-batch.
  int take(const Candidate& candidate) {
    const auto stage = static_cast<std::size_t>(candidate.stage);
    const int rank = placement_.rank_of(candidate.stage);
    const double end = candidate.start + costs_.stages[stage].forward_seconds;
    free_at_[static_cast<std::size_t>(rank)] = end;
    end_[stage].push_back(end);
    if (candidate.stage + 1 < placement_.num_stages()) {
      const int to_rank = placement_.rank_of(candidate.stage + 1);
      arrival_[stage + 1].push_back(links_.arrival(rank, to_rank, end));
    }
    return next_micro_batch_[stage]++;
  }

  const Placement& placement_;
  int num_micro_batches_;
  const CostModel& costs_;
  LinkClock links_;
  std::vector<int> next_micro_batch_;         // [stage]
  std::vector<std::vector<double>> arrival_;  // [stage][micro-batch]: seconds, as far as known
  std::vector<std::vector<double>> end_;      // [stage][micro-batch]: seconds, of passes that ran
  std::vector<double> free_at_;               // [rank]: seconds
  double period_ = 0.0;                       // seconds of the busiest rank for a micro-batch
};

}  // namespace

StageOrders forward_orders(const Placement& placement,
                           int num_micro_batches,
                           const CostModel& costs) {
  return ForwardSimulation(placement, num_micro_batches, costs).run();
}

}  // namespace halfpipe::schedule
