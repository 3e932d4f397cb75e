// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/training/checkpoint_save.h"

#include <cstring>
#include <nlohmann/json.hpp>
#include <span>
#include <utility>

#include "engine/checkpoint/model_directory.h"
#include "engine/config/config_to_yaml.h"
#include "engine/files/output_file.h"
#include "engine/runtime/ranks/agreement.h"

namespace halfpipe::runtime {

CheckpointSave::CheckpointSave(checkpoint::CheckpointStore& store,
                               const PipelineTrainer& trainer,
                               const Job& job,
                               const TrainingInputs& inputs,
                               std::int64_t steps_done,
                               std::string parameter_hash,
                               const RankGroups& groups)
    : store_(store),
      inputs_(inputs),
      groups_(groups),
      working_directory_(store.working_directory(steps_done)),
      model_(job.config.model),
      num_stages_(job.placement.num_stages()) {
  const std::int64_t sequences = steps_done * job.config.train.global_batch_size;
  state_ = {.step = steps_done,
            .tokens_seen = sequences * job.config.model.seq_len,
            .sequences_consumed = sequences,
            .seed = job.config.train.seed,
            .parameter_hash = std::move(parameter_hash),
            .config = config::to_yaml(job.config),
            .data = inputs.data_record};
  for (int chunk = 0; chunk < job.placement.num_chunks(); ++chunk) {
    stages_.push_back(std::make_unique<StageFiles>(working_directory_, job.config,
                                                   trainer.stage(chunk).layers(), num_stages_));
  }
}

void CheckpointSave::open() {
  agree(groups_.world(), [&] {
    if (is_first_rank()) store_.begin(step());
  });
  agree(groups_.world(), [&] {
    for (const auto& files : stages_) {
      if (leads_its_stages(groups_.place())) files->create();
    }
  });
}

void CheckpointSave::write_stages(const std::function<void(StageFiles&)>& write) {
  for (const auto& files : stages_) {
    write(*files);
    files->close();
  }
}

void CheckpointSave::name_files() {
  const std::vector<StageFiles::Written> written = written_by_all();
  agree(groups_.world(), [&] {
    for (const auto& files : stages_) {
      if (!leads_its_stages(groups_.place())) continue;
      files->finish(written[static_cast<std::size_t>(files->stage())]);
    }
  });
}

/// Of each stage of the model. Collective.
std::vector<StageFiles::Written> CheckpointSave::written_by_all() const {
  std::vector<StageFiles::Written> mine(static_cast<std::size_t>(num_stages_));
  for (const auto& files : stages_) {
    mine[static_cast<std::size_t>(files->stage())] = files->written();
  }
  std::vector<StageFiles::Written> all(mine.size());
  for (const auto& bytes : groups_.world().all_gather(std::as_bytes(std::span(mine)))) {
    std::memcpy(mine.data(), bytes.data(), bytes.size());
    for (std::size_t stage = 0; stage < all.size(); ++stage) {
      for (std::size_t file = 0; file < all[stage].size(); ++file) {
        all[stage][file] += mine[stage][file];
      }
    }
  }
  return all;
}

void CheckpointSave::seal() {
  if (!is_first_rank()) return;
  checkpoint::write_model_index(working_directory_, model_, num_stages_);
  checkpoint::write_trainer_state(working_directory_, state_);
  if (inputs_.tuned) checkpoint::write_tuned_record(working_directory_, *inputs_.tuned);
  files::write_file(working_directory_ / data::kVocabularyFile,
                    inputs_.dataset->vocabulary.to_json().dump(1) + "\n");
  store_.finish(step());
}

void CheckpointSave::abandon() noexcept {
  if (is_first_rank()) store_.abandon(step());
}

}  // namespace halfpipe::runtime
