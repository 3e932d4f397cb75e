// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>
#include <vector>

#include "parallel/schedule/search/order_search.h"
#include "parallel/schedule/search/problem.h"
#include "parallel/schedule/stage_orders.h"

namespace halfpipe::schedule {

/// The schedules of the catalogue that have the problem's placement.
[[nodiscard]] std::vector<std::string_view> known_names(const SearchProblem& problem);

/// One of them, and the same with W passes where the problem's times leave waits. Whether it fits
/// the memory limits is not looked at.
[[nodiscard]] std::vector<StageOrders> known_orders(const SearchProblem& problem,
                                                    std::string_view name);

/// Where a search begins: known_orders of all names, and the orders of least memory. What does not
/// fit is passed over.
void offer_known_orders(const SearchProblem& problem, OrderSearch& search);

}  // namespace halfpipe::schedule
