// SPDX-License-Identifier: Apache-2.0
// Simulated annealing over the orders of all ranks (Kirkpatrick et al. 1983): single passes shift
// by a few places, mostly passes on the critical path.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "parallel/schedule/search/budget.h"
#include "parallel/schedule/search/random.h"
#include "parallel/schedule/search/timetable.h"

namespace halfpipe::schedule {

struct Cooling {
  double hot;   // temperature at the start, in mean passes of the problem
  double cold;  // and at the end
};

/// Few passes are shifted often enough to come down from a higher temperature. 0.6 passes and more
/// never improved anything.
[[nodiscard]] Cooling cooling_for(std::size_t num_ops);

/// [rank], first position and the one behind the last: passes there stay where they are, and no
/// pass moves past them. Empty: all may move.
using Frozen = std::vector<std::pair<int, int>>;

/// Anneals `timetable` from budget.used() as it is to `until`, or until the worst rank's cost is
/// `good_enough` (seconds); it ends with the best orders met.
void anneal(const Instance& instance,
            const Cooling& cooling,
            double good_enough,
            double until,
            BudgetShare& budget,
            Random& random,
            Timetable& timetable,
            const Frozen& frozen = {});

}  // namespace halfpipe::schedule
