// SPDX-License-Identifier: Apache-2.0
// The tables that a job prints before its first step.
#pragma once

#include <string>
#include <vector>

#include "engine/runtime/job.h"

namespace halfpipe::runtime {

/// Resolved configuration, model, parameters, stage map, schedule with its planned bubble, memory
/// by kind and rank.
[[nodiscard]] std::string start_report(const Job& job,
                                       const std::vector<RankMemory>& memory,
                                       int threads_per_rank);

}  // namespace halfpipe::runtime
