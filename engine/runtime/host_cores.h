// SPDX-License-Identifier: Apache-2.0
// The CPUs of a machine, and how its ranks share them.
#pragma once

#include <vector>

#include "engine/config/run_config.h"
#include "parallel/transport/transport.h"

namespace halfpipe::runtime {

/// The logical CPUs that a rank may use, and the ranks of its machine that may use the same ones: a
/// launcher gives each rank CPUs of its own (mpirun --bind-to core), or all of them the same.
struct HostCores {
  std::vector<int> cpus;  // ascending, at least one
  int num_sharers = 1;    // this rank included
  int position = 0;       // of this rank among them
};

/// Of a program with one rank.
[[nodiscard]] HostCores own_cores();
/// Collective.
[[nodiscard]] HostCores find_host_cores(transport::Transport& transport);

/// The threads of a rank, of which the first is the one that calls kernels.
struct RankThreads {
  int count = 1;
  std::vector<int> pinned_cpus;  // one for each thread; empty: they run where the system likes
};

/// count: device.threads_per_rank, or for auto: OMP_NUM_THREADS if set (ConfigError when it is no
/// number from 1 to config::kMostThreads), else the rank's CPUs divided among those who share them.
/// Devices other than the CPU leave all of those to the host's own work, whatever OMP_NUM_THREADS
/// says. With device.pin_threads every thread gets a CPU of its own; ConfigError when there are too
/// few.
[[nodiscard]] RankThreads resolve_threads(const config::DeviceConfig& device,
                                          const HostCores& cores);

}  // namespace halfpipe::runtime
