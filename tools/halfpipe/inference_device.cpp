// SPDX-License-Identifier: Apache-2.0
#include "tools/halfpipe/inference_device.h"

#include <fmt/format.h>

#include "engine/config/run_config.h"
#include "engine/runtime/ranks/host_cores.h"
#include "kernels/core/error.h"
#include "kernels/cuda/cuda_backend.h"
#include "tools/halfpipe/devices.h"

namespace halfpipe::tools {

void add_device_options(CLI::App& command, InferenceDevice& device) {
  command
      .add_option("--device", device.kind,
                  "cpu or cuda (the first GPU that the process sees): what computes, in float32, "
                  "whatever the model was trained on")
      ->check(CLI::IsMember({"cpu", "cuda"}))
      ->capture_default_str();
  command
      .add_option("--threads", device.threads,
                  "Threads of the CPU; 0: all CPUs that the process may use, or OMP_NUM_THREADS")
      ->check(CLI::Range(0, config::kMostThreads));
}

std::unique_ptr<device::Backend> make_backend(const InferenceDevice& device) {
  if (device.kind == "cuda" && !cuda::cuda_available()) {
    throw ConfigError(
        "--device (cuda): this build has no CUDA backend; build with HALFPIPE_CUDA=ON, or use "
        "--device cpu");
  }
  if (device.kind != "cpu" && device.threads != 0) {
    throw ConfigError(
        fmt::format("--threads ({}) has a meaning with --device cpu only; --device is {}",
                    device.threads, device.kind));
  }
  config::RunConfig run;
  run.device.kind = device.kind;
  run.device.threads_per_rank = device.threads;
  return make_backend(run, runtime::own_threads(run.device), /*rank_on_this_host=*/0);
}

}  // namespace halfpipe::tools
