// SPDX-License-Identifier: Apache-2.0
// Whom a rank talks to: all ranks of the job, its pipeline, and the replicas of its stages.
#pragma once

#include <optional>

#include "engine/config/run_config.h"
#include "parallel/mesh.h"
#include "parallel/transport/group_transport.h"

namespace halfpipe::runtime {

/// Transports of host memory. With one replica the pipeline is the job itself.
class RankGroups {
 public:
  /// The job has as many ranks as the mesh. `world` must outlive this.
  RankGroups(const config::ParallelConfig& config, transport::Transport& world);
  RankGroups(const RankGroups&) = delete;
  RankGroups& operator=(const RankGroups&) = delete;

  [[nodiscard]] const parallel::Mesh& mesh() const { return mesh_; }
  [[nodiscard]] int replica() const { return mesh_.replica_of(world_.rank()); }
  [[nodiscard]] int pipeline_rank() const { return mesh_.pipeline_rank_of(world_.rank()); }

  [[nodiscard]] transport::Transport& world() const { return world_; }
  [[nodiscard]] transport::Transport& pipeline() const { return *pipeline_; }
  /// Null with one replica.
  [[nodiscard]] transport::Transport* replicas_or_null() const { return replicas_; }

 private:
  parallel::Mesh mesh_;
  transport::Transport& world_;
  std::optional<transport::GroupTransport> pipeline_group_;
  std::optional<transport::GroupTransport> data_group_;
  transport::Transport* pipeline_;
  transport::Transport* replicas_ = nullptr;
};

}  // namespace halfpipe::runtime
