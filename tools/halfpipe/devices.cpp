// SPDX-License-Identifier: Apache-2.0
#include "tools/halfpipe/devices.h"

#include "engine/runtime/hardware.h"
#include "kernels/core/error.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/modelled/modelled_backend.h"
#include "parallel/transport/nccl_factory.h"
#include "parallel/transport/staged_transport.h"

namespace halfpipe::tools {
namespace {

bool uses_nccl(const config::RunConfig& config) {
  return config.parallel.transport == "nccl";
}

}  // namespace

std::unique_ptr<device::Backend> make_backend(const config::RunConfig& config,
                                              const runtime::RankThreads& threads,
                                              int rank_on_this_host) {
  if (is_modelled(config.device)) {
    return modelled::make_modelled_backend(runtime::device_model_of(config));
  }
  if (config.device.kind == "cuda") {
    if (uses_nccl(config)) transport::require_nccl();
    return cuda::make_cuda_backend(rank_on_this_host % cuda::num_devices(),
                                   {.sync_kernels = config.debug.sync_kernels});
  }
  // The configuration was validated: other kinds are refused there, by name.
  HALFPIPE_CHECK(config.device.kind == "cpu", "no backend for device.kind " + config.device.kind);
  return cpu::make_cpu_backend(threads.count, threads.pinned_cpus);
}

std::unique_ptr<transport::Transport> make_device_transport(const config::RunConfig& config,
                                                            transport::Transport& carrier,
                                                            device::Backend& backend) {
  if (uses_nccl(config)) return transport::make_nccl_transport(carrier, backend);
  return transport::make_staging_if_needed(carrier, backend);
}

std::unique_ptr<device::Backend> make_planning_backend(const config::RunConfig& config,
                                                       const runtime::RankThreads& threads) {
  if (config.device.kind == "cuda") return cuda::make_cuda_planner();
  return make_backend(config, threads, /*rank_on_this_host=*/0);
}

}  // namespace halfpipe::tools
