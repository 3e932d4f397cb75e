// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/rank_groups.h"

#include "kernels/core/error.h"

namespace halfpipe::runtime {

RankGroups::RankGroups(const config::ParallelConfig& config, transport::Transport& world)
    : mesh_{.data = config.data, .pipeline = config.pipeline}, world_(world), pipeline_(&world) {
  HALFPIPE_CHECK(mesh_.num_ranks() == world.world_size(), "the mesh does not hold every rank");
  if (mesh_.data == 1) return;
  pipeline_ = &pipeline_group_.emplace(world, mesh_.pipeline_group(world.rank()));
  replicas_ = &data_group_.emplace(world, mesh_.data_group(world.rank()));
}

}  // namespace halfpipe::runtime
