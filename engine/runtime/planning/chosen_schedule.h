// SPDX-License-Identifier: Apache-2.0
// A job's stages and orders, and how good they are.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/runtime/planning/stage_layout.h"
#include "parallel/schedule/stage_orders.h"

namespace halfpipe::runtime {

/// What a search says of itself. Seconds are those of the cost model, but for search_seconds.
struct ScheduleSearch {
  std::vector<std::int64_t> memory_limit;  // [rank], bytes of activations
  double cost;                             // of the objective
  double lower_bound;                      // whatever the stages, no schedule is better
  std::string reason;                      // of the bound
  double stages_bound;                     // no orders of these stages within the limits are better
  std::string stages_reason;
  double search_seconds;
  std::optional<double> textbook_cost;  // of the named orders that were improved
};

struct ChosenSchedule {
  StageLayout layout;
  schedule::StageOrders orders;
  std::optional<ScheduleSearch> search;  // unless the orders are those of the catalogue
};

}  // namespace halfpipe::runtime
