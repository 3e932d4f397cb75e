// SPDX-License-Identifier: Apache-2.0
// What every StageOrders must satisfy, checked pass by pass without the code under test.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "parallel/schedule/cost_model.h"
#include "parallel/schedule/simulate.h"
#include "parallel/schedule/stage_orders.h"

namespace halfpipe::schedule {

/// Every (stage, micro-batch) has F, B and W once on its rank; F before B before W; each of them in
/// micro-batch order. Empty when all holds, else the first violation.
[[nodiscard]] std::string first_order_violation(const StageOrders& orders);

/// Every pass of the timeline starts after its inputs have arrived and its rank is free. Empty when
/// all holds, else the first violation.
[[nodiscard]] std::string first_time_violation(const StageOrders& orders,
                                               const Timeline& timeline,
                                               const CostModel& costs);

[[nodiscard]] double highest_peak_units(const Timeline& timeline);

/// One line per rank: "F0 F1 b0 w0 ...", small letters for chunks above 0.
[[nodiscard]] std::string order_text(const StageOrders& orders);

/// Stages, passes and messages of different costs, the same on every run.
[[nodiscard]] CostModel uneven_costs(int num_stages);

}  // namespace halfpipe::schedule
