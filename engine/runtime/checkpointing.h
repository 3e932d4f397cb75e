// SPDX-License-Identifier: Apache-2.0
// Checkpoints of a training run: what its ranks write.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "engine/checkpoint/checkpoint_store.h"
#include "engine/checkpoint/trainer_state.h"
#include "engine/runtime/pipeline_trainer.h"
#include "engine/runtime/rank_groups.h"
#include "engine/runtime/training_inputs.h"

namespace halfpipe::runtime {

/// The vocabulary's file in a checkpoint.
inline constexpr const char* kVocabularyName = "vocabulary.json";

/// Writes the checkpoint of `steps_done` optimizer steps on the data of `inputs`; returns its
/// directory. Collective. A failure on any rank is an AgreedError on all of them, and leaves no
/// half checkpoint.
std::filesystem::path save_checkpoint(checkpoint::CheckpointStore& store,
                                      PipelineTrainer& trainer,
                                      const Job& job,
                                      const TrainingInputs& inputs,
                                      std::int64_t steps_done,
                                      const std::string& parameter_hash,
                                      const RankGroups& groups);

}  // namespace halfpipe::runtime
