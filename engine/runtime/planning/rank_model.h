// SPDX-License-Identifier: Apache-2.0
// The part of the model that one pipeline rank hosts: its stages, their parameters, and what a step
// feeds them.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/model/parameter.h"
#include "engine/model/stage.h"
#include "engine/runtime/planning/job.h"
#include "engine/runtime/step/replica_parts.h"

namespace halfpipe::runtime {

class RankModel {
 public:
  /// No memory is taken before allocate(). Tensor ranks of one pipeline rank take as much.
  RankModel(const Job& job, int pipeline_rank, int tensor_rank = 0);
  void allocate(device::Backend& backend) { parameters_.allocate(backend, dtype_); }

  [[nodiscard]] model::ParameterSet& parameters() { return parameters_; }
  [[nodiscard]] const model::ParameterSet& parameters() const { return parameters_; }
  [[nodiscard]] const model::Stage& stage(int chunk) const {
    return stages_[static_cast<std::size_t>(chunk)];
  }
  [[nodiscard]] const std::vector<model::Stage>& stages() const { return stages_; }
  [[nodiscard]] bool has_first_stage() const { return has_first_stage_; }
  [[nodiscard]] bool has_last_stage() const { return has_last_stage_; }
  /// The embedding is tied and its two uses are on different ranks, this one being one of them.
  [[nodiscard]] bool exchanges_tied_gradient() const { return exchanges_tied_gradient_; }

  /// Of each parameter of the set: gradients of a group are final when its chunk has run its last
  /// pass; those of a tied table when both uses are added.
  [[nodiscard]] const std::vector<int>& gradient_groups() const { return gradient_groups_; }
  [[nodiscard]] int group_of_tied_table() const { return static_cast<int>(stages_.size()); }

  /// Scratch of the hungriest pass of any stage, or of the optimizer step.
  [[nodiscard]] std::size_t workspace_bytes(device::Backend& backend) const;
  /// Tokens (first stage), targets and losses (last stage) of all micro-batches of a step.
  [[nodiscard]] std::int64_t batch_bytes() const;
  [[nodiscard]] std::int64_t tokens_per_step() const { return tokens_per_step_; }

 private:
  model::ParameterSet parameters_;
  std::vector<model::Stage> stages_;  // [num_chunks]
  std::vector<int> gradient_groups_;  // [parameters]
  std::int64_t B_;
  DType dtype_;
  std::int64_t tokens_per_step_;
  bool has_first_stage_;
  bool has_last_stage_;
  bool exchanges_tied_gradient_;
};

[[nodiscard]] inline ReplicaParts replica_parts(const config::RunConfig& config,
                                                const RankModel& model) {
  return replica_parts(config, model.parameters().all(), model.gradient_groups());
}

}  // namespace halfpipe::runtime
