// SPDX-License-Identifier: Apache-2.0
#include "tools/halfpipe/devices.h"

#include "engine/runtime/planning/hardware.h"
#include "kernels/core/error.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/modelled/modelled_backend.h"
#include "parallel/transport/nccl_factory.h"
#include "parallel/transport/staged_transport.h"

namespace halfpipe::tools {
namespace {

cuda::AttentionChoice attention_of(const config::RunConfig& config) {
  const std::string& attention = config.device.attention;
  if (attention == "cudnn") return cuda::AttentionChoice::kCudnn;
  return attention == "auto" ? cuda::AttentionChoice::kAuto : cuda::AttentionChoice::kFlash;
}

ops::AttentionDims attention_dims(const config::RunConfig& config) {
  return {.B = config.train.micro_batch_size,
          .T = config.model.seq_len,
          .NH = config.model.num_heads / config.parallel.tensor,
          .HS = config.model.head_size()};
}

int gpu_of(int rank_on_this_host) {
  return rank_on_this_host % cuda::num_devices();
}

bool uses_nccl(const config::RunConfig& config) {
  return config.parallel.transport == "nccl";
}

}  // namespace

void settle_device(config::RunConfig& config, int rank_on_this_host) {
  if (config.device.kind != "cuda") return;
  const cuda::AttentionDecision decision = cuda::decide_attention(
      attention_of(config), gpu_of(rank_on_this_host), attention_dims(config), config.model.dtype);
  config.device.attention = decision.taken == cuda::AttentionChoice::kCudnn ? "cudnn" : "flash";
  config.device.attention_reason = decision.why;
}

std::unique_ptr<device::Backend> make_backend(const config::RunConfig& config,
                                              const runtime::RankThreads& threads,
                                              int rank_on_this_host) {
  if (is_modelled(config.device)) {
    return modelled::make_modelled_backend(runtime::device_model_of(config));
  }
  if (config.device.kind == "cuda") {
    if (uses_nccl(config)) transport::require_nccl();
    return cuda::make_cuda_backend(
        gpu_of(rank_on_this_host),
        {.sync_kernels = config.debug.sync_kernels, .attention = attention_of(config)});
  }
  // The configuration was validated: other kinds are refused there, by name.
  HALFPIPE_CHECK(config.device.kind == "cpu", "no backend for device.kind " + config.device.kind);
  return cpu::make_cpu_backend(threads.count, threads.pinned_cpus);
}

std::string device_label(const config::RunConfig& config, int rank_on_this_host) {
  if (config.device.kind != "cuda") return config.device.kind;
  return "gpu " + std::to_string(gpu_of(rank_on_this_host));
}

void check_devices(const config::RunConfig& config,
                   transport::Transport& world,
                   device::Backend& backend) {
  if (uses_nccl(config)) transport::require_own_devices(world, backend);
}

std::unique_ptr<transport::Transport> make_device_transport(const config::RunConfig& config,
                                                            transport::Transport& carrier,
                                                            device::Backend& backend,
                                                            transport::Reach reach) {
  if (uses_nccl(config)) return transport::make_nccl_transport(carrier, backend, reach);
  return transport::make_staging_if_needed(carrier, backend);
}

std::unique_ptr<device::Backend> make_planning_backend(const config::RunConfig& config,
                                                       const runtime::RankThreads& threads) {
  if (config.device.kind == "cuda") {
    const cuda::AttentionChoice attention = attention_of(config);
    cuda::check_attention_choice(attention, attention_dims(config), config.model.dtype);
    return cuda::make_cuda_planner({.attention = attention});
  }
  return make_backend(config, threads, /*rank_on_this_host=*/0);
}

}  // namespace halfpipe::tools
