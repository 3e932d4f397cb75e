// SPDX-License-Identifier: Apache-2.0
// The schedule for a memory limit: searched, not named.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "parallel/schedule/schedule_error.h"
#include "parallel/schedule/search/budget.h"
#include "parallel/schedule/search/problem.h"
#include "parallel/schedule/stage_orders.h"

namespace halfpipe::schedule {

struct SearchResult {
  StageOrders orders;  // named "auto"
  std::size_t choice;  // index of the problem whose placement it has
  double cost;         // seconds of the objective
  double bound;        // seconds that no schedule on any of the placements can beat
  std::string reason;  // what the bound rests on
  double search_seconds;
};

/// No schedule exists within the limits.
class MemoryLimitError : public ScheduleError {
 public:
  explicit MemoryLimitError(std::int64_t smallest_limit_bytes);
  /// With this much on every rank one exists, on the placement that needs least.
  [[nodiscard]] std::int64_t smallest_limit() const { return smallest_limit_; }

 private:
  std::int64_t smallest_limit_;
};

/// The best orders found for one job on any of several placements (`choices`: at least one, of one
/// objective and one number of micro-batches). Never worse than a schedule of the catalogue that
/// fits the limits and has one of the placements. Ends early when the bound is reached. With
/// SearchBudget::evaluations the result is the same everywhere, and for any number of threads.
/// Throws MemoryLimitError when no choice has a schedule within the limits.
[[nodiscard]] SearchResult search_schedule(const std::vector<SearchProblem>& choices,
                                           const SearchBudget& budget);

}  // namespace halfpipe::schedule
