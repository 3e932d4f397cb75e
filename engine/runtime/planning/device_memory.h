// SPDX-License-Identifier: Apache-2.0
// What the ranks of a job find free on their devices, for a search without schedule.memory_limit.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/config/run_config.h"
#include "kernels/device/backend.h"
#include "parallel/mesh.h"
#include "parallel/transport/transport.h"

namespace halfpipe::runtime {

/// What one rank has found.
struct FoundMemory {
  std::string place;  // of the device, among all of the job
  std::int64_t free_bytes;
};

/// [pipeline rank]: the least that a rank with its stages has, when ranks share evenly what is free
/// on a device of several. `found` is in the order of the mesh's ranks.
[[nodiscard]] std::vector<std::int64_t> least_shares(const std::vector<FoundMemory>& found,
                                                     const parallel::Mesh& mesh);

/// Sets config.device.free_bytes to these shares, less the scratch of any stage, where the
/// schedule's limit is what the devices have; elsewhere changes nothing. Collective, once every
/// rank has its device and before any takes memory there. config.model.vocab_size is resolved.
void ask_devices_for_memory(config::RunConfig& config,
                            device::Backend& backend,
                            transport::Transport& world);

}  // namespace halfpipe::runtime
