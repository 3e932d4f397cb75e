// SPDX-License-Identifier: Apache-2.0
// From the order of the passes to programs: adds the messages between ranks and the instructions
// that post, wait and send.
#pragma once

#include "parallel/schedule/plan.h"
#include "parallel/schedule/stage_orders.h"

namespace halfpipe::schedule {

/// Fills plan.messages and the instructions of every rank; buffers and saved slots are left open.
/// Around each pass a rank waits for the pass's message, runs it and sends its result at once.
/// `depth` is how far a channel (an ordered pair of ranks) may run ahead:
///   - the receives of the next `depth` messages in order of use are always posted, and with them
///     all sent earlier, since the k-th receive takes the k-th send;
///   - a send is waited for before the pass that makes the `depth`-th message after it.
/// Every send has been waited for at the end. Throws ScheduleError when a pass lies outside the
/// placement or reads what no pass writes.
void insert_communication(const StageOrders& orders, int depth, Plan& plan);

}  // namespace halfpipe::schedule
