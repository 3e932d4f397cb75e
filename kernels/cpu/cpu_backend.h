// SPDX-License-Identifier: Apache-2.0
// The CPU as a device.
#pragma once

#include <memory>
#include <span>

#include "kernels/device/backend.h"

namespace halfpipe::cpu {

/// One per rank, used by one thread at a time. num_threads counts the calling thread; results have
/// the same bits for any value. cpus: as those of ThreadPool.
[[nodiscard]] std::unique_ptr<device::Backend> make_cpu_backend(int num_threads,
                                                                std::span<const int> cpus = {});

}  // namespace halfpipe::cpu
