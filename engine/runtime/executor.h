// SPDX-License-Identifier: Apache-2.0
// Runs a rank's program: a loop and a switch. Everything was decided in the plan.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "engine/model/saved_tensors.h"
#include "engine/runtime/message_links.h"
#include "engine/runtime/planning/rank_model.h"
#include "engine/runtime/recorded_passes.h"
#include "kernels/device/arena.h"

namespace halfpipe::runtime {

/// When the stream reached an instruction of a program and when it had done it, in seconds since a
/// mark that the caller has set.
struct InstructionTime {
  double start = 0.0;
  double end = 0.0;
};

/// What the passes of one step read and write beside the stages' own memory. Arrays of all
/// micro-batches, back to back; null where this rank has no first or last stage.
struct StepTensors {
  const std::int32_t* tokens;   // [m, B, T]
  const std::int32_t* targets;  // [m, B, T]
  float* losses;                // [m, B, T]
  float loss_scale;             // of the gradient; 0 in evaluation

  friend bool operator==(const StepTensors&, const StepTensors&) = default;
};

class Executor {
 public:
  /// Takes the activation arena and the workspace, as large as the job's plans need.
  Executor(const Job& job,
           int pipeline_rank,
           const RankModel& model,
           device::Backend& backend,
           transport::Transport& transport,
           device::Stream& stream,
           model::TensorGroup* tensor_or_null = nullptr);

  /// What is called before and after each instruction, with its index in this rank's program; not
  /// after those of a warm-up.
  struct Hooks {
    std::function<void(std::size_t)> before;
    std::function<void(std::size_t)> after;
  };
  /// What the step before a warm-up has left to do.
  struct StepBefore {
    /// Waits until that step is decided. False: otherwise than was thought when the warm-up began.
    std::function<bool()> settle;
    /// Then, when nothing of the warm-up is under way any more, and before it is run again.
    std::function<void()> put_right;
  };

  /// As run(), of the training plan, while the step before is not decided: settles that one after
  /// the warm-up (parallel/schedule/warm_up.h), and runs the warm-up again where it was for
  /// nothing. Collective.
  void run_after(const StepBefore& before,
                 const StepTensors& tensors,
                 std::int64_t step,
                 const Hooks& hooks = {});

  /// Runs this rank's part of the plan for one step; returns when all its work is enqueued. Throws
  /// what transport.wait throws when a peer is lost.
  void run(const schedule::Plan& plan,
           const StepTensors& tensors,
           std::int64_t step,
           const Hooks& hooks = {});

  /// Runs every kind of pass of every chunk once, without messages of the pipeline. For what a
  /// device does at first use alone, loading code for example. Tensor ranks exchange in this group.
  /// Afterwards gradients and losses hold anything.
  void warm_up(const schedule::Plan& plan,
               const StepTensors& tensors,
               model::TensorGroup* tensor_or_null);

  /// Records the passes of the job's training plan (device::Backend::record): run() then enqueues
  /// each in one call. After warm_up; `tensors` are those of every step from then on.
  void record_passes(const StepTensors& tensors);
  [[nodiscard]] std::size_t num_recordings() const { return recorded_.num_recordings(); }

  /// Reads the device's times of the last run, one per instruction of this rank's program, counted
  /// from `origin`, which was recorded before. The stream must have been synchronised since.
  void read_times(const device::Event& origin);
  /// As last read.
  [[nodiscard]] const std::vector<InstructionTime>& times() const { return times_; }
  /// CPU time that the last run took on the host's thread: all of the runtime's own work, and on a
  /// device that is not the host nothing else.
  [[nodiscard]] double host_cpu_seconds() const { return host_cpu_seconds_; }
  [[nodiscard]] const model::LiveBytes& live_bytes() const { return live_; }
  [[nodiscard]] std::size_t arena_bytes() const { return arena_.bytes(); }
  [[nodiscard]] std::size_t communication_bytes() const { return links_.bytes(); }
  [[nodiscard]] device::Arena& workspace() { return workspace_; }
  [[nodiscard]] std::size_t workspace_bytes() const { return workspace_memory_.bytes(); }

 private:
  /// The instructions from `first` on.
  void run_from(std::size_t first,
                const schedule::Plan& plan,
                const StepTensors& tensors,
                std::int64_t step,
                const Hooks& hooks);
  void run_one(std::size_t index,
               const schedule::Plan& plan,
               const StepTensors& tensors,
               std::int64_t step,
               const Hooks& hooks);
  /// Returns the first instruction that is still to be run.
  std::size_t run_warm_up(const StepBefore& before,
                          const StepTensors& tensors,
                          std::int64_t step,
                          const Hooks& hooks);
  void begin_run(const schedule::Plan& plan);
  void run_pass(const schedule::Instruction& instruction,
                const schedule::RankPlan& program,
                const StepTensors& tensors,
                bool forward_only,
                model::TensorGroup* tensor_or_null);
  [[nodiscard]] PassKey key_of(const schedule::Instruction& instruction,
                               const schedule::RankPlan& program) const;
  [[nodiscard]] model::SavedTensors saved_tensors(const schedule::Instruction& instruction,
                                                  const schedule::RankPlan& program);
  /// What one instruction of this rank does, without its marks.
  void execute(const schedule::Plan& plan, std::size_t index, const StepTensors& tensors);
  [[nodiscard]] transport::RankStatus status_of(const schedule::Plan& plan,
                                                std::size_t index,
                                                std::int64_t step) const;

  const Job& job_;
  int pipeline_rank_;
  const RankModel& model_;
  device::Backend& backend_;
  transport::Transport& transport_;
  device::Stream& stream_;
  model::TensorGroup* tensor_or_null_;
  MessageLinks links_;
  device::Buffer arena_;
  device::Buffer workspace_memory_;
  device::Arena workspace_;
  model::LiveBytes live_;
  RecordedPasses recorded_;  // of job_.training
  StepTensors recorded_tensors_{};
  schedule::WarmUp warm_up_;                           // of job.training
  std::unique_ptr<device::Event> begin_;               // of the last run
  std::unique_ptr<device::Event> settled_;             // the step before, in it
  std::optional<std::size_t> first_after_settling_;    // the instruction
  std::vector<std::unique_ptr<device::Event>> marks_;  // after each instruction
  std::size_t num_instructions_ = 0;                   // of the last run
  std::vector<InstructionTime> times_;
  double host_cpu_seconds_ = 0.0;
};

}  // namespace halfpipe::runtime
