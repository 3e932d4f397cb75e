// SPDX-License-Identifier: Apache-2.0
// A search limits the peak of what is saved; what a rank takes is an arena, which may have gaps and
// be larger. So arenas are checked after a search, and the search is repeated with smaller limits.
#pragma once

#include <cstdint>
#include <vector>

#include "parallel/schedule/plan.h"
#include "parallel/schedule/search/budget.h"

namespace halfpipe::runtime {

/// How much larger each rank's arena is than `arena_limit` ([rank], bytes); empty when all fit.
[[nodiscard]] std::vector<std::int64_t> excess_of(const schedule::Plan& plan,
                                                  const std::vector<std::int64_t>& arena_limit);

/// Where a rank has an excess, its memory_limit for the next search: `residents` ([rank], bytes
/// that the limit counts besides) and the peak of the plan less the excess.
void narrow(const schedule::Plan& plan,
            const std::vector<std::int64_t>& excess,
            const std::vector<std::int64_t>& residents,
            std::vector<std::int64_t>& memory_limit);

/// A first search and one repetition take the whole budget together.
[[nodiscard]] schedule::SearchBudget budget_of_first(const schedule::SearchBudget& whole);
[[nodiscard]] schedule::SearchBudget budget_of_repeat(const schedule::SearchBudget& whole);

}  // namespace halfpipe::runtime
