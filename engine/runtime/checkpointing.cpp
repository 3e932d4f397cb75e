// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/checkpointing.h"

#include <fmt/format.h>

#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "engine/checkpoint/model_directory.h"
#include "engine/config/config_to_yaml.h"
#include "engine/files/output_file.h"
#include "engine/runtime/activity.h"
#include "engine/runtime/agreement.h"
#include "engine/runtime/held_moments.h"
#include "engine/runtime/stage_files.h"

namespace halfpipe::runtime {

namespace {

/// What of its state a rank saves: every element of the model is saved by one rank.
class Share {
 public:
  Share(const parallel::Coordinates& place, const PipelineTrainer& trainer)
      : place_(place), replicas_are_equal_(replicas_hold_the_same_moments(trainer)) {}

  /// Of the files of its stages, this rank makes them and gives them their names.
  [[nodiscard]] bool leads() const { return place_.data == 0 && place_.tensor == 0; }
  [[nodiscard]] bool has_values(const model::Parameter& parameter) const {
    return place_.data == 0 && has_slice(parameter);
  }
  [[nodiscard]] bool has_moments(const model::Parameter& parameter) const {
    return (place_.data == 0 || !replicas_are_equal_) && has_slice(parameter);
  }

 private:
  /// What tensor ranks hold whole, all of them hold.
  [[nodiscard]] bool has_slice(const model::Parameter& parameter) const {
    return parameter.owned && (place_.tensor == 0 || !parameter.slice.is_whole());
  }

  parallel::Coordinates place_;
  bool replicas_are_equal_;
};

using Stages = std::vector<std::unique_ptr<StageFiles>>;

/// Of this rank, by chunk.
Stages stages_of(const std::filesystem::path& directory,
                 const PipelineTrainer& trainer,
                 const Job& job) {
  Stages stages;
  for (int chunk = 0; chunk < job.placement.num_chunks(); ++chunk) {
    stages.push_back(std::make_unique<StageFiles>(
        directory, job.config, trainer.stage(chunk).layers(), job.placement.num_stages()));
  }
  return stages;
}

void write_stage(StageFiles& files, PipelineTrainer& trainer, const Share& share) {
  HostWindow window(trainer.backend(), trainer.stream());
  const std::vector<model::Parameter>& parameters = trainer.parameters().all();
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const model::Parameter& parameter = parameters[i];
    if (!files.hold(parameter.spec)) continue;
    if (share.has_values(parameter)) files.write_values(parameter, window);
    if (!share.has_moments(parameter)) continue;
    for (const HeldMoments& range : held_moments(trainer, i)) {
      files.write_moments(parameter, range, window);
    }
  }
  files.close();
}

/// What all ranks have written of each stage of the model. Collective.
std::vector<StageFiles::Written> written_by_all(const Stages& stages,
                                                const Job& job,
                                                transport::Transport& transport) {
  std::vector<StageFiles::Written> mine(static_cast<std::size_t>(job.placement.num_stages()));
  for (const auto& files : stages) {
    mine[static_cast<std::size_t>(files->stage())] = files->written();
  }
  std::vector<StageFiles::Written> all(mine.size());
  for (const auto& bytes : transport.all_gather(std::as_bytes(std::span(mine)))) {
    std::memcpy(mine.data(), bytes.data(), bytes.size());
    for (std::size_t stage = 0; stage < all.size(); ++stage) {
      for (std::size_t file = 0; file < all[stage].size(); ++file) {
        all[stage][file] += mine[stage][file];
      }
    }
  }
  return all;
}

void write_rank_zero_files(const std::filesystem::path& directory,
                           const Job& job,
                           const TrainingInputs& inputs,
                           std::int64_t steps_done,
                           const std::string& parameter_hash) {
  checkpoint::write_model_index(directory, job.config.model, job.placement.num_stages());
  const std::int64_t sequences = steps_done * job.config.train.global_batch_size;
  checkpoint::write_trainer_state(directory, {.step = steps_done,
                                              .tokens_seen = sequences * job.config.model.seq_len,
                                              .sequences_consumed = sequences,
                                              .seed = job.config.train.seed,
                                              .parameter_hash = parameter_hash,
                                              .config = config::to_yaml(job.config),
                                              .data = inputs.data_record});
  if (inputs.tuned) checkpoint::write_tuned_record(directory, *inputs.tuned);
  files::write_file(directory / kVocabularyName,
                    inputs.dataset->vocabulary.to_json().dump(1) + "\n");
}

}  // namespace

std::filesystem::path save_checkpoint(checkpoint::CheckpointStore& store,
                                      PipelineTrainer& trainer,
                                      const Job& job,
                                      const TrainingInputs& inputs,
                                      std::int64_t steps_done,
                                      const std::string& parameter_hash,
                                      const RankGroups& groups) {
  transport::Transport& world = groups.world();
  const bool first_rank = world.rank() == 0;
  agree(world, [&] {
    if (first_rank) store.begin(steps_done);
  });
  try {
    const std::filesystem::path directory = store.working_directory(steps_done);
    const Share share(groups.place(), trainer);
    const Stages stages = stages_of(directory, trainer, job);
    agree(world, [&] {
      for (const auto& files : stages) {
        if (share.leads()) files->create();
      }
    });
    agree(world, [&] {
      for (const auto& files : stages) {
        publish_activity(world, steps_done,
                         fmt::format("checkpoint, stage {}", files->stage()).c_str());
        write_stage(*files, trainer, share);
      }
    });
    const std::vector<StageFiles::Written> written = written_by_all(stages, job, world);
    agree(world, [&] {
      for (const auto& files : stages) {
        if (share.leads()) files->finish(written[static_cast<std::size_t>(files->stage())]);
      }
    });
    agree(world, [&] {
      if (!first_rank) return;
      publish_activity(world, steps_done, "checkpoint, manifest");
      write_rank_zero_files(directory, job, inputs, steps_done, parameter_hash);
      store.finish(steps_done);
    });
  } catch (const AgreedError&) {
    if (first_rank) store.abandon(steps_done);
    throw;
  }
  return store.directory_of(steps_done);
}

}  // namespace halfpipe::runtime
