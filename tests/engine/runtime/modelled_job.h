// SPDX-License-Identifier: Apache-2.0
// Small jobs on modelled devices, and their ranks as threads of the test.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "engine/config/run_config.h"
#include "engine/runtime/planning/job.h"
#include "kernels/device/backend.h"
#include "parallel/transport/transport.h"

namespace halfpipe::runtime {

/// A second for every floating-point operation of a product, nothing for anything else; links of
/// 1 ms + 1e-6 s per byte within pairs of ranks, of 2 ms + 1e-5 s per byte between them.
[[nodiscard]] config::HardwareProfile only_products();

/// small_config() on modelled devices.
[[nodiscard]] config::RunConfig modelled_config(const std::string& schedule,
                                                int pipeline,
                                                const config::HardwareProfile& profile);

/// Runs `body` on a modelled device and transport per rank; what it throws is thrown.
void on_modelled_ranks(const config::RunConfig& config,
                       const std::function<void(device::Backend&, transport::Transport&)>& body);

}  // namespace halfpipe::runtime
