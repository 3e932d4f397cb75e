// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "parallel/schedule/search/order_search.h"
#include "parallel/schedule/search/problem.h"

namespace halfpipe::schedule {

/// Where a search begins: the schedules of the catalogue that have the problem's placement, the
/// same with W passes where its times leave waits, blocks made for its messages, and the orders of
/// least memory. What does not fit is passed over.
void offer_known_orders(const SearchProblem& problem, OrderSearch& search);

}  // namespace halfpipe::schedule
