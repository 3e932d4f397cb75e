// SPDX-License-Identifier: Apache-2.0
// The one place where a backend is chosen.
#pragma once

#include <memory>

#include "engine/config/run_config.h"
#include "kernels/device/backend.h"

namespace halfpipe::tools {

/// The device that device.kind names, for a rank with num_threads threads.
[[nodiscard]] std::unique_ptr<device::Backend> make_backend(const config::RunConfig& config,
                                                            int num_threads);

}  // namespace halfpipe::tools
