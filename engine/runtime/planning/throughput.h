// SPDX-License-Identifier: Apache-2.0
// What a step's time means: tokens and model FLOPs per second, by the conventions of
// docs/benchmarking.md.
#pragma once

#include <optional>

#include "engine/config/run_config.h"

namespace halfpipe::runtime {

struct Throughput {
  double tokens_per_second;  // of the whole job
  double tokens_per_second_per_device;
  double flops_per_second_per_device;  // model FLOPs
  std::optional<double> mfu;           // of the data sheet's peak, where there is one

  /// Where there is a hardware profile.
  [[nodiscard]] double known_mfu() const;
};

/// Of a job on num_devices, whatever the mesh of its configuration.
[[nodiscard]] Throughput throughput_of(const config::RunConfig& config,
                                       int num_devices,
                                       double step_seconds);

/// model::model_flops_per_token of every token.
[[nodiscard]] double model_flops_per_step(const config::RunConfig& config);

}  // namespace halfpipe::runtime
