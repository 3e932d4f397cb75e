// SPDX-License-Identifier: Apache-2.0
// The shortest schedule of a tiny problem, found by trying every order that fits in memory.
#pragma once

#include <optional>

#include "parallel/schedule/search/problem.h"

namespace halfpipe::schedule {

/// Span or makespan (as the problem asks) of the best of all orders in which every stage takes
/// micro-batches in order; nothing when all of them take longer than `at_most`. Orders that have
/// run the same passes are compared where they stand, and one that is nowhere earlier is dropped:
/// exponential, but in the number of states and not of orders.
[[nodiscard]] std::optional<double> shortest_schedule(const SearchProblem& problem, double at_most);

}  // namespace halfpipe::schedule
