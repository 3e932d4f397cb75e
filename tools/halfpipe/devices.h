// SPDX-License-Identifier: Apache-2.0
// The one place where a backend is chosen, and what carries messages between its devices.
#pragma once

#include <memory>
#include <string>

#include "engine/config/run_config.h"
#include "engine/runtime/ranks/host_cores.h"
#include "kernels/device/backend.h"
#include "parallel/transport/reach.h"
#include "parallel/transport/transport.h"

namespace halfpipe::tools {

/// Decides what the configuration leaves to this rank's device: device.attention. Where devices and
/// libraries are the same, so is what is decided. Throws as make_backend, and ConfigError where the
/// device does not take what was asked for.
void settle_device(config::RunConfig& config, int rank_on_this_host);

/// The device that device.kind names, settled, for a rank with these threads. GPUs are dealt out to
/// the ranks of a machine in turn; where there are fewer, ranks share them.
[[nodiscard]] std::unique_ptr<device::Backend> make_backend(const config::RunConfig& config,
                                                            const runtime::RankThreads& threads,
                                                            int rank_on_this_host);

/// "cpu", "gpu 3": the device of make_backend in words.
[[nodiscard]] std::string device_label(const config::RunConfig& config, int rank_on_this_host);

/// Collective. Throws UserError when ranks share a GPU and must not.
void check_devices(const config::RunConfig& config,
                   transport::Transport& world,
                   device::Backend& backend);

/// What carries messages between memories of these devices; null: the carrier does. Collective, and
/// what fails, fails on single ranks: the caller ends the job. The carrier must outlive it.
[[nodiscard]] std::unique_ptr<transport::Transport> make_device_transport(
    const config::RunConfig& config,
    transport::Transport& carrier,
    device::Backend& backend,
    transport::Reach reach);

/// What a plan asks for bytes: the same device, or what knows it where it is not there.
[[nodiscard]] std::unique_ptr<device::Backend> make_planning_backend(
    const config::RunConfig& config, const runtime::RankThreads& threads);

}  // namespace halfpipe::tools
