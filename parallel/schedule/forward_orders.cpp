// SPDX-License-Identifier: Apache-2.0
#include "parallel/schedule/forward_orders.h"

#include <algorithm>
#include <cstddef>
#include <limits>
#include <vector>

#include "parallel/schedule/link_clock.h"

namespace halfpipe::schedule {
namespace {

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
        free_at_(static_cast<std::size_t>(placement.num_pipeline_ranks()), 0.0) {
    arrival_[0].assign(static_cast<std::size_t>(num_micro_batches), 0.0);
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
      const double start = std::max(arrivals[next], free_at_[static_cast<std::size_t>(rank)]);
      if (start < best.start) best = {stage, start};
    }
    return best;
  }

  /// Runs the candidate's pass; returns its micro-batch.
  int take(const Candidate& candidate) {
    const auto stage = static_cast<std::size_t>(candidate.stage);
    const int rank = placement_.rank_of(candidate.stage);
    const double end = candidate.start + costs_.stages[stage].forward_seconds;
    free_at_[static_cast<std::size_t>(rank)] = end;
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
  std::vector<double> free_at_;               // [rank]: seconds
};

}  // namespace

StageOrders forward_orders(const Placement& placement,
                           int num_micro_batches,
                           const CostModel& costs) {
  return ForwardSimulation(placement, num_micro_batches, costs).run();
}

}  // namespace halfpipe::schedule
