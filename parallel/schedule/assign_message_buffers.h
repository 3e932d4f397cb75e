// SPDX-License-Identifier: Apache-2.0
// Gives every message and every hand-over within a rank one of the rank's message buffers.
#pragma once

#include "parallel/schedule/plan.h"

namespace halfpipe::schedule {

/// Fills input_buffer and output_buffer of all instructions, and num_message_buffers, by a linear
/// scan over each program that always takes the lowest free buffer: as few buffers as are live at
/// once. A buffer is taken when a receive is posted or a pass writes it, and free again after the
/// pass that reads it or after the wait for its send. The program must hold what
/// insert_communication writes.
void assign_message_buffers(Plan& plan);

}  // namespace halfpipe::schedule
