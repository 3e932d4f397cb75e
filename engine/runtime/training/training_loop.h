// SPDX-License-Identifier: Apache-2.0
// The loop over optimizer steps of one rank, and what surrounds a step: data, learning rate,
// evaluation, checkpoints, logs.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/checkpoint/checkpoint_store.h"
#include "engine/data/sampler.h"
#include "engine/runtime/pipeline_trainer.h"
#include "engine/runtime/planning/job.h"
#include "engine/runtime/ranks/rank_groups.h"
#include "engine/runtime/replanner.h"
#include "engine/runtime/training/background_save.h"
#include "engine/runtime/training/end_report.h"
#include "engine/runtime/training/training_inputs.h"
#include "engine/trace/run_log.h"
#include "parallel/transport/transport.h"

namespace halfpipe::runtime {

class TrainingLoop {
 public:
  /// What it is given must outlive it. The trainer holds the parameters of inputs.steps_done steps.
  /// `job` changes where schedule.replan_after asks for it.
  TrainingLoop(const TrainingInputs& inputs,
               Job& job,
               PipelineTrainer& trainer,
               const RankGroups& groups);

  /// Only here does the run change what earlier ones left in output.dir: it sets checkpoints aside
  /// that come after the one it goes on from, and cuts their records. Opens the logs and says how
  /// the run begins. Collective; a failure is an AgreedError on all ranks.
  void begin(const std::string& report);
  /// Trains until train.steps, or until a signal asks any rank to stop; saves at the end.
  /// Collective.
  void run();

 private:
  /// Rank 0. Returns the new names of checkpoints set aside.
  std::vector<std::string> make_way();
  /// With so many steps done.
  [[nodiscard]] bool evaluation_is_due(std::int64_t steps_done) const;
  [[nodiscard]] bool checkpoint_is_due(std::int64_t steps_done) const;

  /// Begins a step, and ends those that have ended meanwhile. Returns whether a signal asked to
  /// stop; then no step is open.
  bool train_one_step();
  /// What follows a step, the first one of begun_. Returns whether a signal asked to stop.
  bool end_step(const StepResult& result);
  /// When the step with this index ends: now where something looks at it before the next one.
  [[nodiscard]] PipelineTrainer::Ending ending_of(std::int64_t step) const;
  [[nodiscard]] bool is_traced(std::int64_t step) const;
  void look_at_background();
  void evaluate();
  void save();
  void log_checkpoint(const CheckpointSave& save);
  void finish(bool stopped);

  /// With the copy that a checkpoint is written from.
  [[nodiscard]] RankMemory measured_memory() const;

  [[nodiscard]] trace::StepRecord record_of(const StepResult& result,
                                            double learning_rate,
                                            double seconds) const;
  void count_exchange(const StepResult& result);
  /// Says that a step was skipped; AgreedError after too many of them.
  void look_at_skipped(const StepResult& result);
  void look_at_plan(const StepResult& result);
  /// Planned equals measured, kind by kind, on every rank: checked after the first step of every
  /// run and of every plan.
  void check_memory();
  void write_trace();
  [[nodiscard]] std::vector<RankPeak> gather_peaks();
  /// Of the rank that put most steps back.
  [[nodiscard]] EarlySteps most_early_steps();

  const TrainingInputs& inputs_;
  Job& job_;
  PipelineTrainer& trainer_;
  const RankGroups& groups_;
  transport::Transport& transport_;  // of the job
  std::optional<Replanner> replanner_;
  std::unique_ptr<trace::RunLog> log_;  // rank 0 only
  checkpoint::CheckpointStore store_;
  data::BatchSampler sampler_;
  data::SequenceRange sequences_;  // of a global batch, that this replica trains on
  HostBatch batch_;
  struct BegunStep {
    double learning_rate;
    double seconds;
  };
  std::deque<BegunStep> begun_;  // at most two steps that have not ended
  std::int64_t steps_done_;
  int skipped_in_a_row_ = 0;
  bool memory_is_checked_ = false;            // of the present plan
  double model_flops_ = 0.0;                  // of a step
  ExposedExchange exposed_;                   // on rank 0, with several replicas
  std::int64_t peak_bytes_ = 0;               // of the rank that needs most
  std::string parameter_hash_;                // of the last save
  std::optional<BackgroundSave> background_;  // with output.asynchronous_checkpoints
};

}  // namespace halfpipe::runtime
