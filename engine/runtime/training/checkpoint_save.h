// SPDX-License-Identifier: Apache-2.0
// One checkpoint on its way to the disk, step by step: what needs all ranks, and what each rank
// does by itself, on whatever thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/checkpoint/checkpoint_store.h"
#include "engine/checkpoint/trainer_state.h"
#include "engine/checkpoint/tuned_record.h"
#include "engine/runtime/pipeline_trainer.h"
#include "engine/runtime/planning/job.h"
#include "engine/runtime/ranks/rank_groups.h"
#include "engine/runtime/state/stage_files.h"
#include "engine/runtime/training/training_inputs.h"

namespace halfpipe::runtime {

/// The order of its life: open, write_stages and close on every rank, name_files, seal on rank 0.
/// After a failure, abandon.
class CheckpointSave {
 public:
  /// Of `steps_done` optimizer steps on the data of `inputs`; takes from its arguments what may be
  /// another thing later. store, inputs and groups must outlive it.
  CheckpointSave(checkpoint::CheckpointStore& store,
                 const PipelineTrainer& trainer,
                 const Job& job,
                 const TrainingInputs& inputs,
                 std::int64_t steps_done,
                 std::string parameter_hash,
                 const RankGroups& groups);

  /// Makes the folder and the files. Collective; a failure on any rank is an AgreedError on all.
  void open();
  /// Calls write(stage) for every stage of this rank, and flushes what it has written there.
  void write_stages(const std::function<void(StageFiles&)>& write);
  /// Gives the files their names, if what all ranks have written is the whole of them. Collective,
  /// like open().
  void name_files();
  /// What is left to rank 0: the other files, the manifest, the checkpoint's name. Does nothing on
  /// other ranks.
  void seal();
  /// Leaves nothing of it.
  void abandon() noexcept;

  [[nodiscard]] std::int64_t step() const { return state_.step; }
  [[nodiscard]] const std::string& parameter_hash() const { return state_.parameter_hash; }
  /// Where it will be.
  [[nodiscard]] std::filesystem::path directory() const { return store_.directory_of(step()); }

 private:
  [[nodiscard]] std::vector<StageFiles::Written> written_by_all() const;
  [[nodiscard]] bool is_first_rank() const { return groups_.world().rank() == 0; }

  checkpoint::CheckpointStore& store_;
  const TrainingInputs& inputs_;
  const RankGroups& groups_;
  std::filesystem::path working_directory_;
  model::TransformerConfig model_;
  int num_stages_;
  checkpoint::TrainerState state_;
  std::vector<std::unique_ptr<StageFiles>> stages_;  // of this rank, by chunk
};

}  // namespace halfpipe::runtime
