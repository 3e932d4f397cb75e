// SPDX-License-Identifier: Apache-2.0
// Checkpoints of a training run: what its ranks write, and what they read back on whatever layout.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "engine/checkpoint/checkpoint_store.h"
#include "engine/checkpoint/trainer_state.h"
#include "engine/runtime/pipeline_trainer.h"
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
                                      transport::Transport& transport);

/// Parameters and moments of this rank from a checkpoint. Not collective; FileError names what does
/// not fit.
void load_checkpoint(const std::filesystem::path& directory, PipelineTrainer& trainer);

/// Parameters of this rank from a GPT-2 directory, whoever wrote it. config is the model to be
/// trained: its shape must be the directory's (seq_len may be shorter: the first positions are
/// taken). Not collective.
void load_initial_parameters(const std::filesystem::path& directory,
                             const model::TransformerConfig& config,
                             PipelineTrainer& trainer);

}  // namespace halfpipe::runtime
