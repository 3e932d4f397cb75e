// SPDX-License-Identifier: Apache-2.0
// What a rank does between the instructions of a plan, told to the ranks that wait for it.
#pragma once

#include <cstdint>

#include "parallel/transport/transport.h"

namespace halfpipe::runtime {

/// Counts as progress for the watchdog, and appears in its message when the rank then stands still.
/// activity: "optimizer step", "checkpoint, stage 3".
void publish_activity(transport::Transport& transport, std::int64_t step, const char* activity);

}  // namespace halfpipe::runtime
