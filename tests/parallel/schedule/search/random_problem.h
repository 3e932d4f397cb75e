// SPDX-License-Identifier: Apache-2.0
// Search problems and orders drawn at random, the same on every machine.
#pragma once

#include <random>

#include "parallel/schedule/search/problem.h"
#include "parallel/schedule/stage_orders.h"

namespace halfpipe::schedule {

/// A whole number in [lowest, highest]. std::uniform_int_distribution differs between libraries.
[[nodiscard]] int draw(std::mt19937& random, int lowest, int highest);

/// At most.
struct ProblemSizes {
  int ranks;
  int stages = 0;  // two per rank are always allowed
  int micro_batches;
};

/// Any placement; costs of all stages equal or not; messages that cost the same or go by links, one
/// at a time or not; whole and half seconds, whose sums are exact, or tenths, whose sums are not;
/// bytes of any lifetime; memory limits from the smallest possible to a little more.
[[nodiscard]] SearchProblem random_problem(std::mt19937& random, const ProblemSizes& most);

/// Takes any pass that can run, again and again; some draws like W early, some F. Its memory need
/// is what comes out.
[[nodiscard]] StageOrders random_orders(std::mt19937& random, const SearchProblem& problem);

}  // namespace halfpipe::schedule
