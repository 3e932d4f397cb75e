// SPDX-License-Identifier: Apache-2.0
// The tables that a job prints before its first step.
#pragma once

#include <string>
#include <vector>

#include "engine/runtime/planning/job.h"

namespace halfpipe::runtime {

/// "flash attention", "attention by cuDNN 9.19.0"; of auto, why it is not by cuDNN, or that it is
/// not decided yet.
[[nodiscard]] std::string attention_in_words(const config::DeviceConfig& device);

/// Resolved configuration, model, parameters, stage map, schedule with its planned bubble, memory
/// by kind and rank.
[[nodiscard]] std::string start_report(const Job& job,
                                       const std::vector<RankMemory>& memory,
                                       int threads_per_rank);

}  // namespace halfpipe::runtime
