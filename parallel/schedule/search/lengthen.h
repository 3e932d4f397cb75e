// SPDX-License-Identifier: Apache-2.0
// Orders of a long step from those of a short one: the two ends stay, the middle is repeated. Ends
// are where orders are hard to find, and a short step has as many of them with far fewer passes.
#pragma once

#include <optional>
#include <vector>

#include "parallel/schedule/search/instance.h"
#include "parallel/schedule/simulate.h"

namespace halfpipe::schedule {

/// Where the list of each rank is in its steady state when half of the makespan is over: [rank],
/// the position of a window that runs each pass of each stage for `length` micro-batches, and its
/// neighbours on both sides the same for those before and after. Nothing where a rank has no such
/// window near that moment.
[[nodiscard]] std::optional<std::vector<int>> steady_windows(const Instance& instance,
                                                             int length,
                                                             const RowOrders& orders,
                                                             const Timeline& timeline);

/// `orders` of `instance` with the windows repeated until there are num_micro_batches; a multiple
/// of `length` more. Takes no more memory than `orders`; whether ranks wait for each other in a
/// circle only a timetable tells.
[[nodiscard]] RowOrders lengthen(const Instance& instance,
                                 const RowOrders& orders,
                                 const std::vector<int>& windows,
                                 int length,
                                 int num_micro_batches);

}  // namespace halfpipe::schedule
