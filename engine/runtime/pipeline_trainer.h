// SPDX-License-Identifier: Apache-2.0
// One pipeline rank of a training job: its memory, and the optimizer step and evaluation that it
// runs with the others.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/optimizer/adamw.h"
#include "engine/runtime/executor.h"
#include "engine/runtime/gradient_reduction.h"
#include "engine/runtime/job.h"
#include "engine/runtime/rank_model.h"
#include "engine/runtime/shared_gradients.h"
#include "engine/runtime/transport_tensor_group.h"

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
  bool stop_requested;  // by any rank

  /// By the definition of schedule::Timeline, so that it can stand beside the planned one.
  [[nodiscard]] double bubble_fraction() const {
    return span_seconds > 0.0 ? 1.0 - work_seconds / span_seconds : 0.0;
  }
};

/// Whom the rank of a trainer talks to. All but `world` move messages of the device's memory.
struct TrainerTransports {
  transport::Transport& world;                     // every rank of the job: sums of a step
  transport::Transport& pipeline;                  // its rank() is the pipeline rank
  transport::Transport* replicas_or_null;          // of this rank's stages; null: there is one
  transport::Transport* tensor_or_null = nullptr;  // who share its layers; null: nobody
};

class PipelineTrainer {
 public:
  /// Takes all memory of this rank; parameters are undefined until initialise_parameters or a load.
  /// job, backend and transports must outlive this.
  PipelineTrainer(const Job& job, device::Backend& backend, const TrainerTransports& transports);
  /// Of a job with one replica.
  PipelineTrainer(const Job& job, device::Backend& backend, transport::Transport& transport)
      : PipelineTrainer(job, backend, TrainerTransports{transport, transport, nullptr}) {}

  /// To be called when job.training has changed, between two steps: takes the memory that it needs
  /// in place of what the one before did. Parameters and optimizer state stay.
  void take_new_plan();

  /// Every kind of pass of every chunk once, without messages; waits for them. Gradients and losses
  /// hold anything afterwards.
  void run_every_pass();

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
  /// rank. Throws RuntimeFailure when loss or norm are not finite; the parameters are then those
  /// before the step.
  StepResult step(std::int64_t step,
                  double learning_rate,
                  const HostBatch& batch,
                  bool stop_requested);

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
  [[nodiscard]] int tensor_rank() const { return model_.parameters().shard().rank; }
  [[nodiscard]] int replica() const { return replicas_or_null_ ? replicas_or_null_->rank() : 0; }
  [[nodiscard]] int num_replicas() const {
    return replicas_or_null_ ? replicas_or_null_->world_size() : 1;
  }
  [[nodiscard]] bool has_first_stage() const { return model_.has_first_stage(); }
  [[nodiscard]] bool has_last_stage() const { return model_.has_last_stage(); }
  [[nodiscard]] model::ParameterSet& parameters() { return model_.parameters(); }
  [[nodiscard]] const model::Stage& stage(int chunk) const { return model_.stage(chunk); }
  [[nodiscard]] optimizer::AdamW& optimizer() { return *optimizer_; }
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
  void make_executor();
  void load_batch(const HostBatch& batch);
  /// Adds the two gradients of a tied embedding, after fetching the one that another rank
  /// accumulated.
  void combine_tied_gradients();
  /// Of a step, over all replicas.
  [[nodiscard]] double num_tokens() const;
  [[nodiscard]] double sum_of_losses(std::int64_t count);
  [[nodiscard]] StepTensors tensors(float loss_scale) const;
  [[nodiscard]] StepTensors training_tensors() const;

  const Job& job_;
  device::Backend& backend_;
  transport::Transport& world_;
  transport::Transport& transport_;  // of the pipeline
  transport::Transport* replicas_or_null_;
  transport::Transport* tensor_or_null_;
  std::unique_ptr<device::Stream> stream_;
  std::unique_ptr<device::Event> step_begin_;
  RankModel model_;
  std::unique_ptr<optimizer::AdamW> optimizer_;
  std::unique_ptr<TransportTensorGroup> tensor_group_or_null_;
  std::unique_ptr<Executor> executor_;
  std::unique_ptr<GradientReduction> reduction_or_null_;
  std::unique_ptr<SharedGradients> shared_gradients_or_null_;
  device::Buffer tokens_, targets_, losses_;  // [m, B, T]
  std::vector<float> host_losses_;
  std::vector<double> reduction_;
  device::Buffer squares_;  // [parameters of the model], pinned: sums that the device writes
  std::int64_t measured_activations_ = 0;
  bool records_passes_ = false;
};

}  // namespace halfpipe::runtime
