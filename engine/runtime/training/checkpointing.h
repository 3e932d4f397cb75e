// SPDX-License-Identifier: Apache-2.0
// Saving a checkpoint of a training run while the training waits.
#pragma once

#include "engine/runtime/pipeline_trainer.h"
#include "engine/runtime/ranks/rank_groups.h"
#include "engine/runtime/training/checkpoint_save.h"

namespace halfpipe::runtime {

/// All of `save`. Collective. A failure on any rank is an AgreedError on all of them, and leaves no
/// half checkpoint.
void save_checkpoint(CheckpointSave& save, PipelineTrainer& trainer, const RankGroups& groups);

}  // namespace halfpipe::runtime
