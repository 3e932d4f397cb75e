// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/planning/throughput.h"

#include "engine/model/model_cost.h"
#include "engine/runtime/planning/hardware.h"
#include "kernels/core/error.h"

namespace halfpipe::runtime {

double Throughput::known_mfu() const {
  HALFPIPE_CHECK(mfu.has_value(), "an MFU is wanted where no peak is known");
  return *mfu;
}

double model_flops_per_step(const config::RunConfig& config) {
  return model::model_flops_per_token(config.model) * static_cast<double>(config.tokens_per_step());
}

Throughput throughput_of(const config::RunConfig& config, int num_devices, double step_seconds) {
  Throughput throughput{};
  throughput.tokens_per_second = static_cast<double>(config.tokens_per_step()) / step_seconds;
  throughput.tokens_per_second_per_device = throughput.tokens_per_second / num_devices;
  throughput.flops_per_second_per_device =
      throughput.tokens_per_second_per_device * model::model_flops_per_token(config.model);
  if (const auto peak = peak_flops_per_second_of(config)) {
    throughput.mfu = throughput.flops_per_second_per_device / *peak;
  }
  return throughput;
}

}  // namespace halfpipe::runtime
