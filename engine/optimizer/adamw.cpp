// SPDX-License-Identifier: Apache-2.0
#include "engine/optimizer/adamw.h"

#include <algorithm>
#include <cmath>

#include "kernels/core/align.h"
#include "kernels/ops/ops.h"

namespace halfpipe::optimizer {

namespace {

/// Of one of its two moments.
std::size_t bytes_of_moment(const model::Parameter& parameter, DType dtype) {
  return padded_bytes(static_cast<std::size_t>(parameter.count()) * size_of(dtype));
}

}  // namespace

std::size_t moment_bytes(const std::vector<model::Parameter>& parameters, DType dtype) {
  std::size_t bytes = 0;
  for (const model::Parameter& parameter : parameters) {
    bytes += 2 * bytes_of_moment(parameter, dtype);
  }
  return bytes;
}

AdamW::AdamW(const OptimizerConfig& config,
             std::uint64_t seed,
             model::ParameterSet& parameters,
             device::Backend& backend)
    : config_(config),
      seed_(seed),
      parameters_(parameters),
      backend_(backend),
      memory_(backend, moment_bytes(parameters.all(), config.moments)) {
  std::byte* place = memory_.bytes_pointer();
  for (const model::Parameter& parameter : parameters.all()) {
    const std::size_t bytes = bytes_of_moment(parameter, config.moments);
    moments_.push_back({place, place + bytes});
    place += 2 * bytes;
  }
  const auto stream = backend.make_stream("optimizer");
  if (memory_.bytes() > 0) {
    backend.fill_async(memory_.bytes_pointer(), std::byte{0}, memory_.bytes(), *stream);
  }
  stream->synchronize();
}

void AdamW::step(std::int64_t step,
                 double learning_rate,
                 double grad_scale,
                 device::Stream& stream) {
  // The kernel works with float32 betas; 1 - beta2 of 0.999 differs by 1e-5 there, so the
  // corrections use the same value.
  const auto beta1 = static_cast<float>(config_.beta1);
  const auto beta2 = static_cast<float>(config_.beta2);
  const double correction1 = 1.0 - std::pow(static_cast<double>(beta1), static_cast<double>(step));
  const double correction2 = 1.0 - std::pow(static_cast<double>(beta2), static_cast<double>(step));
  for (std::size_t i = 0; i < moments_.size(); ++i) {
    const model::Parameter& parameter = parameters_.all()[i];
    backend_.ops().adamw(
        {.param = parameter.value,
         .m = moments_[i].first,
         .v = moments_[i].second,
         .grad = parameter.gradient,
         .count = parameter.count(),
         .learning_rate = static_cast<float>(learning_rate),
         .beta1 = beta1,
         .beta2 = beta2,
         .epsilon = static_cast<float>(config_.epsilon),
         .weight_decay = parameter.spec.decay ? static_cast<float>(config_.weight_decay) : 0.0F,
         .grad_scale = static_cast<float>(grad_scale),
         .bias_correction1 = static_cast<float>(correction1),
         .bias_correction2 = static_cast<float>(correction2),
         .copy_or_null = parameter.copy,
         .moment_dtype = config_.moments,
         .rounding = {.seed = seed_,
                      .parameter = static_cast<std::uint32_t>(parameter.global_index),
                      .step = static_cast<std::uint32_t>(step)}},
        stream);
  }
}

void gradient_squares(const model::ParameterSet& parameters,
                      device::Backend& backend,
                      device::Arena& workspace,
                      device::Stream& stream,
                      std::span<double> sums) {
  for (const model::Parameter& parameter : parameters.all()) {
    if (!parameter.owned || !parameter.counts_in_norm) continue;
    const device::ArenaScope scope(workspace);
    const std::size_t bytes = backend.ops().sum_of_squares_scratch_bytes(parameter.count());
    backend.ops().sum_of_squares({.out = &sums[static_cast<std::size_t>(parameter.global_index)],
                                  .x = parameter.gradient,
                                  .count = parameter.count(),
                                  .scratch = workspace.take_bytes(bytes)},
                                 stream);
  }
}

double clip_factor(double norm, double clip_grad_norm) {
  if (clip_grad_norm <= 0.0) return 1.0;
  return std::min(1.0, clip_grad_norm / (norm + 1e-6));
}

}  // namespace halfpipe::optimizer
