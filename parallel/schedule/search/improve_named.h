// SPDX-License-Identifier: Apache-2.0
// Textbook orders improved for real costs, with no more memory than they take.
#pragma once

#include <optional>

#include "parallel/schedule/cost_model.h"
#include "parallel/schedule/search/problem.h"
#include "parallel/schedule/stage_orders.h"

namespace halfpipe::schedule {

/// True when every pass of every stage takes the same time and messages are free: the costs that
/// textbook orders are made for.
[[nodiscard]] bool are_equal_costs(const CostModel& costs);

/// The search that improves `orders` for `costs`: their placement, and on every rank the activation
/// bytes that they keep at their peak. search_schedule() finds none that is worse. Nothing when
/// is_made_for_equal_costs() is false for orders.name, or the costs are equal.
[[nodiscard]] std::optional<SearchProblem> improvement_of(const StageOrders& orders,
                                                          const CostModel& costs,
                                                          Objective objective);

}  // namespace halfpipe::schedule
