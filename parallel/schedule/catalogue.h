// SPDX-License-Identifier: Apache-2.0
// The schedules that a user can name.
#pragma once

#include <span>
#include <string_view>

#include "parallel/schedule/cost_model.h"
#include "parallel/schedule/placement.h"
#include "parallel/schedule/stage_orders.h"

namespace halfpipe::schedule {

/// gpipe, 1f1b, 1f1b-v, interleaved, zb-1p, zb-2p, v-min, v-half, v-zb, w4.
[[nodiscard]] std::span<const std::string_view> schedule_names();

/// `num_chunks` matters to interleaved only; the other schedules have one stage per rank, two in a
/// V, or four in the zigzag of w4. Throws ScheduleError for a name that is not in schedule_names(),
/// and lists them.
[[nodiscard]] Placement placement_for(std::string_view name,
                                      int num_pipeline_ranks,
                                      int num_chunks);

/// True for the schedules whose orders are made for passes that all take the same time and messages
/// that take none, whatever the costs: 1f1b-v, v-min, v-half, w4. Other costs have better orders
/// with the same memory, see search/improve_named.h. False for names that are not in the catalogue.
[[nodiscard]] bool is_made_for_equal_costs(std::string_view name);

/// A schedule for any number of ranks and micro-batches from 1 on. In it every stage runs F, B and
/// W once per micro-batch, each of them in micro-batch order, and no pass waits for a later one.
/// zb-1p, zb-2p and v-zb use the times of `costs`; the others do not. `costs.stages` is
/// empty (uniform costs, messages as given) or has one entry per stage. The same arguments give the
/// same orders everywhere. Throws ScheduleError for arguments without a schedule.
[[nodiscard]] StageOrders make_orders(std::string_view name,
                                      int num_pipeline_ranks,
                                      int num_micro_batches,
                                      int num_chunks,
                                      const CostModel& costs);

}  // namespace halfpipe::schedule
