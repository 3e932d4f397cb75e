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
  std::vector<int> cpus;       // at least one; the first of each core, then the others
  bool cpus_are_known = true;  // false: they are counted only, the system names none
  std::vector<int> sharers;    // ranks, ascending, this one included
  /// Another rank of this machine may use some of these CPUs, and others: no sharing can be fair.
  bool overlaps = false;
};

/// The threads of a rank, of which the first is the one that calls kernels.
struct RankThreads {
  int count = 1;
  std::vector<int> pinned_cpus;  // one for each thread; empty: they run where the system likes
};

/// device.threads_per_rank, or for auto: OMP_NUM_THREADS if set (ConfigError when it is no number
/// from 1 to config::kMostThreads), else the rank's CPUs divided among those who share them.
/// Devices other than the CPU leave all of those to the host's own work, whatever OMP_NUM_THREADS
/// says.
[[nodiscard]] int num_threads(const config::DeviceConfig& device, const HostCores& cores);

/// A CPU for each thread of the sharer at `position`; they want counts[sharer] threads. ConfigError
/// when there are too few, or nobody can tell.
[[nodiscard]] std::vector<int> cpus_for_threads(const HostCores& cores,
                                                const std::vector<int>& counts,
                                                std::size_t position);

/// Collective.
[[nodiscard]] HostCores find_host_cores(transport::Transport& transport);

/// The threads of this rank, pinned where device.pin_threads says so. Collective: errors are
/// AgreedErrors.
[[nodiscard]] RankThreads agree_on_threads(const config::DeviceConfig& device,
                                           transport::Transport& transport);
/// Of a program with one rank.
[[nodiscard]] RankThreads own_threads(const config::DeviceConfig& device);
/// Threads of a rank when num_ranks of them run on this machine.
[[nodiscard]] int planned_threads(const config::DeviceConfig& device, int num_ranks);

}  // namespace halfpipe::runtime
