// SPDX-License-Identifier: Apache-2.0
// Whom a rank talks to: all ranks of the job, its pipeline, the replicas of its stages, and those
// that share its layers.
#pragma once

#include <optional>

#include "engine/config/run_config.h"
#include "engine/runtime/ranks/mesh_of.h"
#include "parallel/mesh.h"
#include "parallel/transport/group_transport.h"

namespace halfpipe::runtime {

/// Transports of host memory. With one replica and one tensor rank the pipeline is the job itself.
class RankGroups {
 public:
  /// The job has as many ranks as the mesh. `world` must outlive this.
  RankGroups(const config::ParallelConfig& config, transport::Transport& world);
  RankGroups(const RankGroups&) = delete;
  RankGroups& operator=(const RankGroups&) = delete;

  [[nodiscard]] const parallel::Mesh& mesh() const { return mesh_; }
  /// Of this rank in the mesh.
  [[nodiscard]] const parallel::Coordinates& place() const { return place_; }

  [[nodiscard]] transport::Transport& world() const { return world_; }
  [[nodiscard]] transport::Transport& pipeline() const { return *pipeline_; }
  /// Null with one replica.
  [[nodiscard]] transport::Transport* replicas_or_null() const { return replicas_; }
  /// Null with one tensor rank.
  [[nodiscard]] transport::Transport* tensor_or_null() const { return tensor_; }

 private:
  [[nodiscard]] transport::Transport* make(std::optional<transport::GroupTransport>& group,
                                           parallel::Axis axis);

  parallel::Mesh mesh_;
  transport::Transport& world_;
  parallel::Coordinates place_;
  std::optional<transport::GroupTransport> pipeline_group_;
  std::optional<transport::GroupTransport> data_group_;
  std::optional<transport::GroupTransport> tensor_group_;
  transport::Transport* pipeline_;
  transport::Transport* replicas_ = nullptr;
  transport::Transport* tensor_ = nullptr;
};

}  // namespace halfpipe::runtime
