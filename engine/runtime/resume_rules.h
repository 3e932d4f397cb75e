// SPDX-License-Identifier: Apache-2.0
// What may and what may not change between a checkpoint and the run that goes on from it.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "engine/checkpoint/trainer_state.h"
#include "engine/config/run_config.h"

namespace halfpipe::runtime {

/// Throws ConfigError naming the key when the model is another one, when the data order would not
/// go on (seed, global batch, sequence length), or when the run was finished already. Returns notes
/// about other keys that changed and that make the run differ from an uninterrupted one. Ranks,
/// schedule, micro-batch size, device and output may change freely; but only ranks, schedule,
/// device and output leave every bit the same.
[[nodiscard]] std::vector<std::string> check_resume(const config::RunConfig& config,
                                                    const checkpoint::TrainerState& state,
                                                    const std::filesystem::path& directory);

}  // namespace halfpipe::runtime
