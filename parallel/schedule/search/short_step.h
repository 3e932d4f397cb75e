// SPDX-License-Identifier: Apache-2.0
// A long step searched by way of a short one: the ends of that are annealed, the steady state
// between them is repeated.
#pragma once

#include <vector>

#include "parallel/schedule/search/lanes.h"
#include "parallel/schedule/search/order_search.h"
#include "parallel/schedule/search/problem.h"

namespace halfpipe::schedule {

/// Whether a step is so much longer than a short one that improve_by_short_step() has an effect.
[[nodiscard]] bool is_long_step(const SearchProblem& problem);

/// Searches a short step until the lanes have used `until` of their budgets, and offers what
/// becomes of it to `whole`, the search of the problem.
void improve_by_short_step(const SearchProblem& problem,
                           const SearchBudget& budget,
                           std::vector<Lane>& lanes,
                           double until,
                           OrderSearch& whole);

}  // namespace halfpipe::schedule
