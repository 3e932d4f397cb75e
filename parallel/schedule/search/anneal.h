// SPDX-License-Identifier: Apache-2.0
// Simulated annealing over the orders of all ranks (Kirkpatrick et al. 1983): single passes shift
// by a few places, mostly passes on the critical path.
#pragma once

#include "parallel/schedule/search/budget.h"
#include "parallel/schedule/search/random.h"
#include "parallel/schedule/search/timetable.h"

namespace halfpipe::schedule {

struct Cooling {
  double hot;   // temperature at the start, in mean passes of the problem
  double cold;  // and at the end
};

/// Anneals `timetable` from budget.used() as it is to `until`, or until the worst rank's cost is
/// `good_enough` (seconds); it ends with the best orders met.
void anneal(const Instance& instance,
            const Cooling& cooling,
            double good_enough,
            double until,
            BudgetShare& budget,
            Random& random,
            Timetable& timetable);

}  // namespace halfpipe::schedule
