// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/planning/rank_model.h"

#include <algorithm>

#include "engine/runtime/ranks/mesh_of.h"
#include "engine/runtime/step/gradient_squares.h"
#include "kernels/core/align.h"

namespace halfpipe::runtime {

RankModel::RankModel(const Job& job, int pipeline_rank, int tensor_rank)
    : parameters_(tensor_shard_of(job.config.parallel, tensor_rank)),
      B_(job.config.train.micro_batch_size),
      dtype_(job.config.model.dtype),
      tokens_per_step_(B_ * job.config.num_micro_batches() * job.config.model.seq_len) {
  const schedule::Placement& placement = job.placement;
  const std::vector<model::ParameterSpec> specs = model::all_parameters(job.config.model);
  for (int chunk = 0; chunk < placement.num_chunks(); ++chunk) {
    const int stage = placement.stage_of(pipeline_rank, chunk);
    stages_.emplace_back(job.config.model, specs, job.stage_map[static_cast<std::size_t>(stage)],
                         B_, parameters_);
    gradient_groups_.resize(parameters_.all().size(), chunk);
  }
  has_first_stage_ = placement.rank_of(0) == pipeline_rank;
  has_last_stage_ = placement.rank_of(placement.num_stages() - 1) == pipeline_rank;
  const model::Parameter* const tied =
      job.config.model.tie_embeddings ? parameters_.find(model::kTokenEmbeddingName) : nullptr;
  if (tied != nullptr) {
    gradient_groups_[static_cast<std::size_t>(tied - parameters_.all().data())] =
        group_of_tied_table();
  }
  exchanges_tied_gradient_ = job.config.model.tie_embeddings && has_first_stage_ != has_last_stage_;
  if (exchanges_tied_gradient_) {
    // Both ranks hold both gradients of the table, so that they add them in the same order.
    model::Parameter* table = parameters_.find(model::kTokenEmbeddingName);
    table->has_head_gradient = true;
    table->owned = has_first_stage_;
  }
}

std::size_t RankModel::workspace_bytes(device::Backend& backend) const {
  std::size_t bytes = 0;
  for (const model::Stage& stage : stages_) {
    bytes = std::max(bytes, stage.workspace_bytes(backend, parameters_, B_));
  }
  return std::max(bytes, GradientSquares::bytes_for(parameters_.all(), backend));
}

std::int64_t RankModel::batch_bytes() const {
  const auto one = static_cast<std::int64_t>(
      padded_bytes(static_cast<std::size_t>(tokens_per_step_) * sizeof(std::int32_t)));
  static_assert(sizeof(std::int32_t) == sizeof(float));  // tokens, targets and losses take the same
  return (has_first_stage_ ? one : 0) + (has_last_stage_ ? 2 * one : 0);
}

}  // namespace halfpipe::runtime
