// SPDX-License-Identifier: Apache-2.0
// One pipeline rank of a training job: its memory, and the optimizer step and evaluation that it
// runs with the others.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/model/tensor_group.h"
#include "engine/runtime/executor.h"
#include "engine/runtime/optimizer_step.h"
#include "engine/runtime/planning/job.h"
#include "engine/runtime/planning/rank_model.h"
#include "engine/runtime/trainer_transports.h"

namespace halfpipe::runtime {

/// Token ids of one global batch: inputs and, shifted by one, targets. Both [m * B, T] on the host;
/// what a rank has no stage for may be empty.
struct HostBatch {
  std::vector<std::int32_t> inputs;
  std::vector<std::int32_t> targets;
};

/// The same on every rank.
struct StepResult {
  double loss;          // nats per token, before the update
  double grad_norm;     // before clipping
  double span_seconds;  // measured: longest, over the ranks, from first to last pass
  double work_seconds;  // measured: most, over the ranks, spent in passes
  // Measured, most over the ranks: while a rank had no pass left and its gradients were on their
  // way to its replicas, and parameters in the step before.
  double exchange_seconds;
  double gather_seconds;
  bool stop_requested;  // by any rank
  bool skipped;         // loss or norm are not finite: nothing is stepped

  /// By the definition of schedule::Timeline, so that it can stand beside the planned one.
  [[nodiscard]] double bubble_fraction() const {
    return span_seconds > 0.0 ? 1.0 - work_seconds / span_seconds : 0.0;
  }
};

class PipelineTrainer {
 public:
  /// Takes all memory of this rank; parameters are undefined until initialise_parameters or a load.
  /// job, backend and transports must outlive this. On modelled devices replicas and tensor ranks
  /// may be missing: exchanges of tensor ranks take their time all the same, those of replicas
  /// none.
  PipelineTrainer(const Job& job, device::Backend& backend, const TrainerTransports& transports);
  /// The pipeline is all there is.
  PipelineTrainer(const Job& job, device::Backend& backend, transport::Transport& transport)
      : PipelineTrainer(job, backend, TrainerTransports{transport, transport, nullptr}) {}

  /// To be called when job.training has changed, between two steps: takes the memory that it needs
  /// in place of what the one before did. Parameters and optimizer state stay.
  void take_new_plan();

  /// Every kind of pass of every chunk once, without messages of the pipeline; waits for them.
  /// Collective among the ranks that share layers. Gradients and losses hold anything afterwards.
  /// Before the first step, where messages() hold the device up.
  void run_every_pass();
  /// The same on this rank alone, which takes its own part for those of the ranks that share its
  /// layers: not collective.
  void run_every_pass_alone();

  /// Records the passes of a step (device.cuda_graphs), of this plan and of later ones. After what
  /// decides how operations are computed, and after every rank of the process has run every pass:
  /// while one of them records, no other may load code.
  void record_passes();
  /// Of this plan; 0 before record_passes.
  [[nodiscard]] std::size_t num_recordings() const { return executor_->num_recordings(); }

  /// num_threads: that make the values; they are the same for any number.
  void initialise_parameters(std::uint64_t seed, int num_threads);
  /// To be called when anything but a step has set values of parameters().
  void parameters_changed();

  /// One optimizer step on this replica's part of a global batch. `step` counts from 0 and decides
  /// the learning rate and Adam's bias correction. Collective. stop_requested is passed on to every
  /// rank. When loss or norm are not finite, parameters and moments are those before the step;
  /// throws AgreedError then, unless optimizer.not_finite skips such steps.
  StepResult step(std::int64_t step,
                  double learning_rate,
                  const HostBatch& batch,
                  bool stop_requested) {
    const StepResult result =
        step_on(step, learning_rate, batch, stop_requested, Ending::kNow).back();
    refuse(step, result);
    return result;
  }

  /// When a step ends. kWithTheNext: when the next one has warmed up. No rank waits for the norm
  /// before that, where that is possible (RunConfig::steps_early, and no clipping in the step
  /// before), and none for parameters that other replicas have stepped until a pass reads them.
  /// Parameters and optimizer state belong to the trainer until then.
  enum class Ending : std::uint8_t { kNow, kWithTheNext };
  /// As step(). Returns the results of the steps that have ended meanwhile, in their order: of the
  /// one before where it had not, and of this one if it has; the caller refuses those. The ending
  /// is the same on every rank.
  std::vector<StepResult> step_on(std::int64_t step,
                                  double learning_rate,
                                  const HostBatch& batch,
                                  bool stop_requested,
                                  Ending ending);
  [[nodiscard]] bool has_open_step() const { return open_.has_value(); }
  /// Throws AgreedError for a step that is not finite, unless optimizer.not_finite skips such
  /// steps.
  void refuse(std::int64_t step, const StepResult& result) const;
  /// Ends what the last step has left open: its result, if that was not known, and parameters that
  /// other replicas have stepped. Collective.
  std::optional<StepResult> complete();

  /// Sum of the losses of the first num_targets tokens of each replica's batch, in nats; the rest
  /// is padding. Collective; the same on every rank.
  double evaluate(const HostBatch& batch, std::int64_t num_targets, std::int64_t step);

  /// Digest of all parameters of the model, whatever the layout of ranks. Collective. Throws
  /// InternalError when replicas, or what tensor ranks all hold, differ.
  [[nodiscard]] std::string parameter_hash();

  /// Bytes taken, and the measured peak of live saved tensors of the last training step.
  [[nodiscard]] RankMemory measured_memory() const;
  /// Between the ranks of the pipeline, of the device's memory.
  [[nodiscard]] transport::Transport& messages() { return transport_; }
  [[nodiscard]] int pipeline_rank() const { return transport_.rank(); }
  /// Between the replicas of this rank's stages, of the device's memory; null: there is one.
  [[nodiscard]] transport::Transport* replicas_or_null() { return transports_.replicas_or_null; }
  [[nodiscard]] int replica() const { return transports_.replica(); }
  [[nodiscard]] int num_replicas() const { return transports_.num_replicas(); }
  [[nodiscard]] int tensor_rank() const { return transports_.tensor_rank(); }
  [[nodiscard]] bool has_first_stage() const { return model_.has_first_stage(); }
  [[nodiscard]] bool has_last_stage() const { return model_.has_last_stage(); }
  [[nodiscard]] model::ParameterSet& parameters() { return model_.parameters(); }
  [[nodiscard]] const model::Stage& stage(int chunk) const { return model_.stage(chunk); }
  /// Who steps what.
  [[nodiscard]] const ReplicaParts& parts() const { return optimizer_step_->parts(); }
  [[nodiscard]] EarlySteps early_steps() const { return optimizer_step_->early_steps(); }
  [[nodiscard]] optimizer::AdamW& optimizer() { return optimizer_step_->adamw(); }
  [[nodiscard]] device::Backend& backend() { return backend_; }
  [[nodiscard]] device::Stream& stream() { return *stream_; }
  /// Executor::host_cpu_seconds of the last run.
  [[nodiscard]] double host_cpu_seconds() const { return executor_->host_cpu_seconds(); }
  /// Of the last run: one entry per instruction of this rank's training program, since the
  /// beginning of step().
  [[nodiscard]] const std::vector<InstructionTime>& instruction_times() const {
    return executor_->times();
  }

 private:
  /// A step whose norm is not known yet.
  struct OpenStep {
    std::int64_t step;
    double learning_rate;
  };
  void make_executor();
  void warm_up(model::TensorGroup* tensor_or_null);
  void load_batch(const HostBatch& batch);
  /// The passes of a step, and the end of the one before if that is open: its result then.
  std::optional<StepResult> run_passes(std::int64_t step);
  /// Of the passes that have run; waits for them.
  [[nodiscard]] RankShare share_of_this_rank(bool stop_requested);
  [[nodiscard]] StepResult result_of(const StepTotals& totals) const;
  /// Whether the open step was what it was taken for.
  [[nodiscard]] bool is_as_shown(const StepResult& result);
  /// Where it was not.
  void put_open_step_right(const StepResult& result);
  /// Of a step, over all replicas.
  [[nodiscard]] double num_tokens() const;
  [[nodiscard]] double sum_of_losses(std::int64_t count);
  [[nodiscard]] StepTensors tensors(float loss_scale) const;
  [[nodiscard]] StepTensors training_tensors() const;

  const Job& job_;
  device::Backend& backend_;
  TrainerTransports transports_;
  transport::Transport& transport_;  // of the pipeline
  std::unique_ptr<device::Stream> stream_;
  std::unique_ptr<device::Event> step_begin_;
  RankModel model_;
  std::unique_ptr<model::TensorGroup> tensor_group_or_null_;
  std::unique_ptr<OptimizerStep> optimizer_step_;
  std::unique_ptr<Executor> executor_;
  std::optional<OpenStep> open_;
  device::Buffer tokens_, targets_, losses_;  // [m, B, T]
  std::vector<float> host_losses_;
  std::int64_t measured_activations_ = 0;
  bool records_passes_ = false;
};

}  // namespace halfpipe::runtime
