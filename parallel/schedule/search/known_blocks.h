// SPDX-License-Identifier: Apache-2.0
// The building blocks of the V placement as a start for a search: between the named ones lie blocks
// for other limits, and slower ones that bear messages.
#pragma once

#include <vector>

#include "parallel/schedule/search/lanes.h"
#include "parallel/schedule/search/order_search.h"
#include "parallel/schedule/search/problem.h"

namespace halfpipe::schedule {

/// Makes schedules of the V blocks that fit the problem's memory, with W passes where its times
/// leave waits, and offers the best to `search`: first a short step of each block, then whole steps
/// of the blocks whose short ones are best, until the lanes have used `until` of their budgets.
/// Does nothing for other placements, and little on two ranks or fewer, whose blocks are few.
void offer_v_blocks(const SearchProblem& problem,
                    int num_threads,
                    std::vector<Lane>& lanes,
                    double until,
                    OrderSearch& search);

/// Most stage activations that any rank may hold by its limit.
[[nodiscard]] int most_in_flight(const SearchProblem& problem);

}  // namespace halfpipe::schedule
