// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/ranks/rank_groups.h"

#include "kernels/core/error.h"

namespace halfpipe::runtime {

RankGroups::RankGroups(const config::ParallelConfig& config, transport::Transport& world)
    : mesh_(mesh_of(config)),
      world_(world),
      place_(mesh_.coordinates_of(world.rank())),
      pipeline_(&world) {
  HALFPIPE_CHECK(mesh_.num_ranks() == world.world_size(), "the mesh does not hold every rank");
  if (mesh_.extents.pipeline == mesh_.num_ranks()) return;
  pipeline_ =
      &pipeline_group_.emplace(world, mesh_.group_of(world.rank(), parallel::Axis::kPipeline));
  if (mesh_.extents.data > 1) replicas_ = make(data_group_, parallel::Axis::kData);
  if (mesh_.extents.tensor > 1) tensor_ = make(tensor_group_, parallel::Axis::kTensor);
}

transport::Transport* RankGroups::make(std::optional<transport::GroupTransport>& group,
                                       parallel::Axis axis) {
  return &group.emplace(world_, mesh_.group_of(world_.rank(), axis));
}

}  // namespace halfpipe::runtime
