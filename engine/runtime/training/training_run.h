// SPDX-License-Identifier: Apache-2.0
// A training job from its configuration to its last checkpoint, as one rank runs it.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "engine/config/run_config.h"
#include "engine/runtime/ranks/host_cores.h"
#include "kernels/device/backend.h"
#include "parallel/transport/reach.h"
#include "parallel/transport/transport.h"

namespace halfpipe::runtime {

struct TrainingRequest {
  /// Reads the configuration; called on every rank, may throw.
  std::function<config::RunConfig()> load_config;
  /// "auto", a checkpoint's path, or absent: start anew.
  std::optional<std::string> resume;
  /// Decides what the configuration leaves to the device of the rank that has this number among
  /// those of its machine; absent: nothing.
  std::function<void(config::RunConfig&, int rank_on_this_host)> settle_device = {};
  /// The device that `device.kind` names, for a rank with these threads that has this number among
  /// those of its machine.
  std::function<std::unique_ptr<device::Backend>(
      const config::RunConfig&, const RankThreads& threads, int rank_on_this_host)>
      make_backend;
  /// What the start report calls that device; absent: by its kind.
  std::function<std::string(const config::RunConfig&, int rank_on_this_host)> device_label = {};
  /// Throws when messages cannot go between the devices of the job's ranks; absent: they can.
  /// Collective over all ranks.
  std::function<void(const config::RunConfig&, transport::Transport& world, device::Backend&)>
      check_devices = {};
  /// What carries messages between memories of such devices; null, or absent: the transport does.
  /// Collective; what fails, fails on single ranks.
  std::function<std::unique_ptr<transport::Transport>(
      const config::RunConfig&, transport::Transport& carrier, device::Backend&, transport::Reach)>
      make_device_transport = {};
};

/// Collective. debug.timeout_seconds counts from the loaded parameters on; before, ranks wait for
/// slow ones without limit, and for dead ones not at all. Errors found before the first step are
/// AgreedErrors; a rank that fails later throws what it found, and its caller ends the job.
void run_training(const TrainingRequest& request, transport::Transport& transport);

}  // namespace halfpipe::runtime
