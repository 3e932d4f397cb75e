// SPDX-License-Identifier: Apache-2.0
// Runs all blocks of a launch, spread over the cores of the host.
#pragma once

#include "tests/cuda_emulation/block_runner.h"

namespace halfpipe::cuda_emulation {

/// Returns when every block has ended. May be called by several host threads at once. What the
/// kernel writes must not depend on which block runs first: blocks of one launch run at the same
/// time, taken from the grid's beginning (forward) or end (reverse).
void run_grid(const Launch& launch);

}  // namespace halfpipe::cuda_emulation
