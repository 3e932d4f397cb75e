// SPDX-License-Identifier: Apache-2.0
// The placements that compete in a search, and which of them may still win.
#pragma once

#include <cstddef>
#include <vector>

#include "parallel/schedule/search/budget.h"
#include "parallel/schedule/search/lower_bound.h"
#include "parallel/schedule/search/order_search.h"
#include "parallel/schedule/search/problem.h"

namespace halfpipe::schedule {

/// One placement that may be chosen.
struct Contender {
  std::size_t choice;  // index of its problem
  LowerBound bound;
  OrderSearch search;

  /// No orders of it cost less than this, seconds.
  [[nodiscard]] bool cannot_beat(double cost) const;
};

/// Every choice that has a schedule within its limits, with its bound and the orders that a search
/// begins with; a choice that its bound keeps from beating what another one begins with has the
/// orders of least memory alone. At least one. Throws MemoryLimitError where nothing fits.
[[nodiscard]] std::vector<Contender> make_contenders(const std::vector<SearchProblem>& choices,
                                                     const SearchBudget& budget);

[[nodiscard]] Contender& best_of(std::vector<Contender>& contenders);

/// Those that may still win, best first: not proved optimal, their bound below the best cost, and
/// below it themselves if they `gain` that part of the way to their bound; those that need more
/// where there are no others.
[[nodiscard]] std::vector<Contender*> hopeful(std::vector<Contender>& contenders, double gain);

}  // namespace halfpipe::schedule
