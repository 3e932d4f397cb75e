// SPDX-License-Identifier: Apache-2.0
// Whether ranks that go on before the norm is known (optimizer.post_validation) gain by it.
#pragma once

#include "engine/config/run_config.h"
#include "parallel/schedule/placement.h"
#include "parallel/schedule/simulate.h"

namespace halfpipe::runtime {

/// What post_validation auto comes to. A step that waits takes the makespan of its passes; one that
/// does not, the longest span of a rank, and AdamW once more without its moments: 18 bytes a
/// parameter. True where that is less by the plan and costs no memory: in bfloat16 without a
/// sharded optimizer. False where the first and the last rank add up the gradients of a tied table,
/// which waits for the last one, and on modelled devices, whose steps are foretold one by one.
[[nodiscard]] bool gains_by_post_validation(const config::RunConfig& config,
                                            const schedule::Placement& placement,
                                            const schedule::Timeline& timeline);

}  // namespace halfpipe::runtime
