// SPDX-License-Identifier: Apache-2.0
// Small jobs on modelled devices, and their ranks as threads of the test.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "engine/config/run_config.h"
#include "engine/runtime/planning/job.h"
#include "engine/runtime/trainer_transports.h"
#include "kernels/device/backend.h"

namespace halfpipe::runtime {

/// A second for every floating-point operation of a product, nothing for anything else; links of
/// 1 ms + 1e-6 s per byte within pairs of ranks, of 2 ms + 1e-5 s per byte between them.
[[nodiscard]] config::HardwareProfile only_products();

/// small_config() on modelled devices.
[[nodiscard]] config::RunConfig modelled_config(const std::string& schedule,
                                                int pipeline,
                                                const config::HardwareProfile& profile);

using ModelledRankBody = std::function<void(device::Backend&, const TrainerTransports&)>;
/// Whose ranks run: of one replica, which stands for all, or of all.
enum class RunningReplicas : std::uint8_t { kOne, kAll };

/// Runs `body` on a modelled device per rank; what it throws is thrown.
void on_modelled_ranks(const config::RunConfig& config,
                       const ModelledRankBody& body,
                       RunningReplicas replicas = RunningReplicas::kOne);

}  // namespace halfpipe::runtime
