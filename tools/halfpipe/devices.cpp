// SPDX-License-Identifier: Apache-2.0
#include "tools/halfpipe/devices.h"

#include "engine/runtime/hardware.h"
#include "kernels/core/error.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/modelled/modelled_backend.h"

namespace halfpipe::tools {

std::unique_ptr<device::Backend> make_backend(const config::RunConfig& config, int num_threads) {
  if (is_modelled(config.device)) {
    return modelled::make_modelled_backend(runtime::device_model_of(config));
  }
  // The configuration was validated: other kinds are refused there, by name.
  HALFPIPE_CHECK(config.device.kind == "cpu", "no backend for device.kind " + config.device.kind);
  return cpu::make_cpu_backend(num_threads);
}

}  // namespace halfpipe::tools
