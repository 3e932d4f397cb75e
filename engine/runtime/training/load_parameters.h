// SPDX-License-Identifier: Apache-2.0
// What a run starts from: a checkpoint, or a model that somebody trained. Every rank reads its
// slices of the tensors, and no more.
#pragma once

#include <filesystem>

#include "engine/model/transformer_config.h"
#include "engine/runtime/pipeline_trainer.h"

namespace halfpipe::runtime {

/// What this rank holds of parameters and moments, from a checkpoint of any layout. Not collective;
/// FileError names what does not fit.
void load_checkpoint(const std::filesystem::path& directory, PipelineTrainer& trainer);

/// The same of parameters, from a GPT-2 directory, whoever wrote it. config is the model to be
/// trained: its shape must be the directory's (seq_len may be shorter: the first positions are
/// taken). Not collective.
void load_initial_parameters(const std::filesystem::path& directory,
                             const model::TransformerConfig& config,
                             PipelineTrainer& trainer);

}  // namespace halfpipe::runtime
