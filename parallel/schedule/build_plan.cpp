// SPDX-License-Identifier: Apache-2.0
#include "parallel/schedule/build_plan.h"

#include <cstddef>
#include <string>

#include "parallel/schedule/assign_message_buffers.h"
#include "parallel/schedule/assign_saved.h"
#include "parallel/schedule/forward_orders.h"
#include "parallel/schedule/insert_communication.h"
#include "parallel/schedule/replay.h"
#include "parallel/schedule/schedule_error.h"
#include "parallel/schedule/validate.h"
#include "parallel/schedule/validation_rules.h"

namespace halfpipe::schedule {
namespace {

// Two receives and two sends per channel: one moves while the other is used.
constexpr int kSmallestDepth = 2;
// Waiting for a buffer may lengthen the step by this fraction before more buffers are taken: one
// message is small beside what a stage saves for a micro-batch, but not nothing.
constexpr double kToleratedSlowdown = 1e-2;

void require_cost_per_stage(const Placement& placement,
                            int num_micro_batches,
                            const CostModel& costs) {
  if (num_micro_batches < 1) {
    throw ScheduleError("a plan needs at least one micro-batch, not " +
                        std::to_string(num_micro_batches));
  }
  if (costs.stages.size() == static_cast<std::size_t>(placement.num_stages())) return;
  throw ScheduleError("the cost model has " + std::to_string(costs.stages.size()) +
                      " stages, the placement has " + std::to_string(placement.num_stages()));
}

/// Looks for the shallowest channels that never make a sender wait for long: a plan with endless
/// buffers, sends being buffered, is the measure.
void insert_communication_as_deep_as_needed(const StageOrders& orders,
                                            const CostModel& costs,
                                            Plan& plan) {
  const int num_hand_overs = 2 * orders.placement.num_stages() * orders.num_micro_batches;
  for (int depth = kSmallestDepth;; depth *= 2) {
    insert_communication(orders, depth, plan);
    const Replay ideal = replay(plan, costs, SendRule::kBuffered);
    if (!ideal.finished || depth >= num_hand_overs) return;  // validate says what is wrong
    const Replay real = replay(plan, costs, SendRule::kRendezvous);
    const bool fast = real.last_pass_end <= ideal.last_pass_end * (1.0 + kToleratedSlowdown);
    if (real.finished && fast) return;
  }
}

Plan lower(const StageOrders& orders, const CostModel& costs, bool forward_only) {
  require_cost_per_stage(orders.placement, orders.num_micro_batches, costs);
  Plan plan{orders.name,  orders.placement,    orders.num_micro_batches,
            forward_only, costs.message_bytes, /*messages=*/{},
            /*ranks=*/{}};
  insert_communication_as_deep_as_needed(orders, costs, plan);
  // The two steps below rely on complete orders.
  if (const Violation violation = check_passes(plan)) {
    throw ScheduleError("schedule " + orders.name + " is not valid: " + *violation);
  }
  assign_message_buffers(plan);
  assign_saved(costs, plan);
  validate(plan, costs);
  return plan;
}

}  // namespace

Plan build_plan(const StageOrders& orders, const CostModel& costs) {
  return lower(orders, costs, /*forward_only=*/false);
}

Plan build_forward_plan(const Placement& placement, int num_micro_batches, const CostModel& costs) {
  require_cost_per_stage(placement, num_micro_batches, costs);
  return lower(forward_orders(placement, num_micro_batches, costs), costs, /*forward_only=*/true);
}

}  // namespace halfpipe::schedule
