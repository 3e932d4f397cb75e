// SPDX-License-Identifier: Apache-2.0
// A training job from its configuration to its last checkpoint, as one rank runs it.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "engine/config/run_config.h"
#include "kernels/device/backend.h"
#include "parallel/transport/transport.h"

namespace halfpipe::runtime {

struct TrainingRequest {
  /// Reads the configuration; called on every rank, may throw.
  std::function<config::RunConfig()> load_config;
  /// "auto", a checkpoint's path, or absent: start anew.
  std::optional<std::string> resume;
  /// The device that `device.kind` names, for a rank with this many threads that has this number
  /// among those of its machine.
  std::function<std::unique_ptr<device::Backend>(
      const config::RunConfig&, int threads_per_rank, int rank_on_this_host)>
      make_backend;
};

/// Collective. debug.timeout_seconds counts from the loaded parameters on; before, ranks wait for
/// slow ones without limit, and for dead ones not at all. Errors found before the first step are
/// AgreedErrors; a rank that fails later throws what it found, and its caller ends the job.
void run_training(const TrainingRequest& request, transport::Transport& transport);

/// device.threads_per_rank, or for auto: OMP_NUM_THREADS if set (ConfigError when it is no number
/// from 1 to config::kMostThreads), else the cores of this host divided among its ranks. Devices
/// other than the CPU leave all of those to the host's own work, whatever OMP_NUM_THREADS says.
[[nodiscard]] int resolve_threads_per_rank(const config::DeviceConfig& device,
                                           int ranks_on_this_host);

}  // namespace halfpipe::runtime
