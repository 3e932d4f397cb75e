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
/// go on (seed, global batch, sequence length), or when the checkpoint has more steps than the run.
/// Returns notes about other keys that changed and that may make the run differ from an
/// uninterrupted one: data, micro-batch size, optimizer, number of steps. Ranks,
/// schedule, device, evaluation and output may change freely: they leave every bit the same.
[[nodiscard]] std::vector<std::string> check_resume(const config::RunConfig& config,
                                                    const checkpoint::TrainerState& state,
                                                    const std::filesystem::path& directory);

}  // namespace halfpipe::runtime
