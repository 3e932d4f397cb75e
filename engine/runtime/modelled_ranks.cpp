// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/modelled_ranks.h"

#include "engine/runtime/planning/hardware.h"
#include "engine/runtime/ranks/mesh_of.h"
#include "engine/runtime/ranks/rank_count.h"

namespace halfpipe::runtime {
namespace {

/// The ranks that run.
config::ParallelConfig running_of(const config::RunConfig& config, int world_size) {
  config::ParallelConfig running = config.parallel;
  running.data = check_modelled_rank_count(config, world_size);
  running.tensor = 1;
  return running;
}

}  // namespace

ModelledRanks::ModelledRanks(const config::RunConfig& config, transport::Transport& world)
    : groups_(running_of(config, world.world_size()), world),
      world_(groups_.world(), departures_),
      pipeline_(
          groups_.pipeline(),
          links_from(*config.device.profile, mesh_of(config.parallel), groups_.place().pipeline),
          &departures_) {
  if (groups_.replicas_or_null() == nullptr) return;
  replicas_.emplace(*groups_.replicas_or_null(),
                    replica_links_from(*config.device.profile, mesh_of(config.parallel),
                                       groups_.place().pipeline, groups_.place().data),
                    &departures_);
}

}  // namespace halfpipe::runtime
