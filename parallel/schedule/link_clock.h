// SPDX-License-Identifier: Apache-2.0
// When messages arrive, given when they are ready to leave: the one place that simulations ask, so
// that all of them agree on what links cost.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

#include "parallel/schedule/cost_model.h"
#include "parallel/schedule/schedule_error.h"

namespace halfpipe::schedule {

/// Refers to the cost model, which must outlive it.
class LinkClock {
 public:
  /// Throws ScheduleError when costs.links is neither empty nor a square of num_ranks, or when
  /// costs.one_message_at_a_time is asked for without links.
  LinkClock(const CostModel& costs, int num_ranks)
      : costs_(costs), num_ranks_(static_cast<std::size_t>(num_ranks)) {
    check_links();
    if (costs.one_message_at_a_time) free_at_.assign(num_ranks_ * num_ranks_, 0.0);
  }

  /// Arrival on to_rank of a message that from_rank could send at `ready`, seconds; `ready` where
  /// both are the same rank. With costs.one_message_at_a_time it leaves when the messages before it
  /// on its link have left: call in the order of sending, link by link.
  double arrival(int from_rank, int to_rank, double ready) {
    const double seconds = costs_.message_seconds_between(from_rank, to_rank);
    if (from_rank == to_rank || free_at_.empty()) return ready + seconds;
    double& free_at = free_at_[static_cast<std::size_t>(from_rank) * num_ranks_ +
                               static_cast<std::size_t>(to_rank)];
    const double departure = std::max(ready, free_at);
    free_at = departure + costs_.occupancy_seconds_between(from_rank, to_rank);
    return departure + seconds;
  }

 private:
  void check_links() const {
    if (costs_.links.empty()) {
      if (!costs_.one_message_at_a_time) return;
      throw ScheduleError("the cost model has one message at a time on links, but no links");
    }
    const bool square =
        std::all_of(costs_.links.begin(), costs_.links.end(),
                    [&](const std::vector<LinkCost>& row) { return row.size() == num_ranks_; });
    if (square && costs_.links.size() == num_ranks_) return;
    throw ScheduleError("the cost model must have a link from each of the " +
                        std::to_string(num_ranks_) + " ranks to each, or no links");
  }

  const CostModel& costs_;
  std::size_t num_ranks_;
  std::vector<double> free_at_;  // [from_rank * num_ranks + to_rank], seconds; empty: never busy
};

}  // namespace halfpipe::schedule
