// SPDX-License-Identifier: Apache-2.0
// Whom a rank on modelled devices talks to, over the links of the hardware profile.
#pragma once

#include <optional>

#include "engine/config/run_config.h"
#include "engine/runtime/ranks/rank_groups.h"
#include "engine/runtime/trainer_transports.h"
#include "parallel/transport/modelled_transport.h"
#include "parallel/transport/transport.h"
#include "parallel/transport/unmodelled_transport.h"

namespace halfpipe::runtime {

/// The ranks of one pipeline, which stands for all replicas, or of every replica's; tensor ranks
/// are never there (check_modelled_rank_count). Sums of a step and other talk of the whole job take
/// no modelled time. Messages of a pipeline and of its replicas do not take each other's bandwidth.
class ModelledRanks {
 public:
  /// `world`: all of them, on one host. It must outlive this.
  ModelledRanks(const config::RunConfig& config, transport::Transport& world);

  [[nodiscard]] TrainerTransports transports() {
    return {.world = world_,
            .pipeline = pipeline_,
            .replicas_or_null = replicas_ ? &*replicas_ : nullptr};
  }

 private:
  RankGroups groups_;
  transport::Departures departures_;
  transport::UnmodelledTransport world_;
  transport::ModelledTransport pipeline_;
  std::optional<transport::ModelledTransport> replicas_;  // where every replica runs
};

}  // namespace halfpipe::runtime
