// SPDX-License-Identifier: Apache-2.0
#include "tools/halfpipe/devices.h"

#include "kernels/core/error.h"
#include "kernels/cpu/cpu_backend.h"

namespace halfpipe::tools {

std::unique_ptr<device::Backend> make_backend(const config::DeviceConfig& device, int num_threads) {
  // The configuration was validated: other kinds are refused there, by name.
  HALFPIPE_CHECK(device.kind == "cpu", "no backend for device.kind " + device.kind);
  return cpu::make_cpu_backend(num_threads);
}

}  // namespace halfpipe::tools
