// SPDX-License-Identifier: Apache-2.0
#include "engine/optimizer/adamw.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "kernels/core/align.h"
#include "kernels/core/error.h"
#include "kernels/ops/ops.h"

namespace halfpipe::optimizer {

namespace {

/// Of one of the two moments.
std::size_t bytes_of_moment(const ElementRanges& ranges, DType dtype) {
  return padded_bytes(static_cast<std::size_t>(num_elements(ranges)) * size_of(dtype));
}

}  // namespace

std::size_t moment_bytes(const std::vector<ElementRanges>& held, DType dtype) {
  std::size_t bytes = 0;
  for (const ElementRanges& ranges : held) bytes += 2 * bytes_of_moment(ranges, dtype);
  return bytes;
}

AdamW::AdamW(const OptimizerConfig& config,
             std::uint64_t seed,
             const model::ParameterSet& parameters,
             device::Backend& backend)
    : AdamW(config,
            seed,
            parameters,
            backend,
            all_elements(parameters.all()),
            moment_bytes(all_elements(parameters.all()), config.moments)) {}

AdamW::AdamW(const OptimizerConfig& config,
             std::uint64_t seed,
             const model::ParameterSet& parameters,
             device::Backend& backend,
             std::vector<ElementRanges> held,
             std::size_t bytes)
    : config_(config), backend_(backend), held_(std::move(held)), memory_(backend, bytes) {
  HALFPIPE_CHECK(bytes >= moment_bytes(held_, config.moments), "moments need more memory");
  std::byte* place = memory_.bytes_pointer();
  for (const ElementRanges& ranges : held_) {
    const std::size_t each = bytes_of_moment(ranges, config.moments);
    moments_.push_back({place, place + each});
    place += 2 * each;
  }
  for (std::size_t i = 0; i < held_.size(); ++i) {
    const model::Parameter& parameter = parameters.all()[i];
    std::size_t offset = 0;  // of the range's moments
    for (const ElementRange& range : held_[i]) {
      pieces_.push_back({i, range});
      steps_.push_back(
          {.param = parameter.value + range.begin,
           .m = moments_[i].first + offset,
           .v = moments_[i].second + offset,
           .grad = parameter.gradient + range.begin,
           .count = range.count(),
           .beta1 = static_cast<float>(config.beta1),
           .beta2 = static_cast<float>(config.beta2),
           .epsilon = static_cast<float>(config.epsilon),
           .weight_decay = parameter.spec.decay ? static_cast<float>(config.weight_decay) : 0.0F,
           .copy_or_null = parameter.copy == nullptr ? nullptr : parameter.copy + range.begin,
           .moment_dtype = config.moments,
           .rounding = {.seed = seed,
                        .parameter = static_cast<std::uint32_t>(parameter.global_index)},
           .first_element = range.begin});
      offset += static_cast<std::size_t>(range.count()) * size_of(config.moments);
    }
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
  this->step({step, learning_rate, grad_scale}, {}, stream);
}

void AdamW::step(const Update& update, const Way& way, device::Stream& stream) {
  HALFPIPE_CHECK(way.from.empty() || way.from.size() == pieces_.size(),
                 "a step reads the values of all pieces from elsewhere, or of none");
  // The kernel works with float32 betas; 1 - beta2 of 0.999 differs by 1e-5 there, so the
  // corrections use the same value.
  const auto correction = [&](double beta) {
    const auto of_kernel = static_cast<double>(static_cast<float>(beta));
    return static_cast<float>(1.0 - std::pow(of_kernel, static_cast<double>(update.step)));
  };
  const float correction1 = correction(config_.beta1);
  const float correction2 = correction(config_.beta2);
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    ops::AdamW& args = steps_[i];
    args.learning_rate = static_cast<float>(update.learning_rate);
    args.grad_scale = static_cast<float>(update.grad_scale);
    args.bias_correction1 = correction1;
    args.bias_correction2 = correction2;
    args.rounding.step = static_cast<std::uint32_t>(update.step);
    args.writes = way.writes;
    args.from_or_null = way.from.empty() ? nullptr : way.from[i];
  }
  backend_.ops().adamw_pieces(steps_, stream);
}

double clip_factor(double norm, double clip_grad_norm) {
  if (clip_grad_norm <= 0.0) return 1.0;
  return std::min(1.0, clip_grad_norm / (norm + 1e-6));
}

}  // namespace halfpipe::optimizer
