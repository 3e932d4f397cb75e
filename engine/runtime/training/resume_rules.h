// SPDX-License-Identifier: Apache-2.0
// What may and what may not change between a checkpoint and the run that goes on from it.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "engine/checkpoint/trainer_state.h"
#include "engine/config/run_config.h"
#include "engine/data/vocabulary.h"
#include "engine/runtime/training/training_inputs.h"

namespace halfpipe::runtime {

/// Throws ConfigError naming the key when the model is another one, when the data order would not
/// go on (seed, global batch, sequence length, or other training tokens under the same `data.`
/// keys), when tokens would get another meaning (vocabulary), or when the checkpoint has more steps
/// than the run. Returns notes about other keys that changed and that may make the run differ from
/// an uninterrupted one: data, micro-batch size, optimizer, number of steps. Ranks, schedule,
/// device, evaluation and output may change freely, as may the names of files that hold the same
/// tokens: they leave every bit the same.
[[nodiscard]] std::vector<std::string> check_resume(const TrainingInputs& inputs,
                                                    const checkpoint::TrainerState& state,
                                                    const std::filesystem::path& directory);

/// Throws ConfigError, in which `key` names `directory`, when its vocabulary is known and not the
/// data's: the model's tokens would get another meaning. A vocabulary without text says nothing of
/// its tokens, so it fits any other.
void check_vocabulary(const config::RunConfig& config,
                      const data::Vocabulary& vocabulary,
                      std::string_view key,
                      const std::filesystem::path& directory);

}  // namespace halfpipe::runtime
