// SPDX-License-Identifier: Apache-2.0
// Whom the rank of a trainer talks to.
#pragma once

#include "engine/runtime/ranks/rank_groups.h"
#include "parallel/transport/transport.h"

namespace halfpipe::runtime {

/// All but `world` move messages of the device's memory.
struct TrainerTransports {
  transport::Transport& world;                     // every rank of the job: sums of a step
  transport::Transport& pipeline;                  // its rank() is the pipeline rank
  transport::Transport* replicas_or_null;          // of this rank's stages; null: there is one
  transport::Transport* tensor_or_null = nullptr;  // who share its layers; null: nobody

  [[nodiscard]] int replica() const { return replicas_or_null ? replicas_or_null->rank() : 0; }
  [[nodiscard]] int tensor_rank() const { return tensor_or_null ? tensor_or_null->rank() : 0; }
  [[nodiscard]] int num_replicas() const {
    return replicas_or_null ? replicas_or_null->world_size() : 1;
  }
};

/// Of devices that are the host.
[[nodiscard]] inline TrainerTransports transports_of(const RankGroups& groups) {
  return {.world = groups.world(),
          .pipeline = groups.pipeline(),
          .replicas_or_null = groups.replicas_or_null(),
          .tensor_or_null = groups.tensor_or_null()};
}

}  // namespace halfpipe::runtime
