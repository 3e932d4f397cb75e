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
             model::ParameterSet& parameters,
             device::Backend& backend)
    : AdamW(config,
            seed,
            parameters,
            backend,
            all_elements(parameters.all()),
            moment_bytes(all_elements(parameters.all()), config.moments)) {}

AdamW::AdamW(const OptimizerConfig& config,
             std::uint64_t seed,
             model::ParameterSet& parameters,
             device::Backend& backend,
             std::vector<ElementRanges> held,
             std::size_t bytes)
    : config_(config),
      seed_(seed),
      parameters_(parameters),
      backend_(backend),
      held_(std::move(held)),
      memory_(backend, bytes) {
  HALFPIPE_CHECK(bytes >= moment_bytes(held_, config.moments), "moments need more memory");
  std::byte* place = memory_.bytes_pointer();
  for (const ElementRanges& ranges : held_) {
    const std::size_t each = bytes_of_moment(ranges, config.moments);
    moments_.push_back({place, place + each});
    place += 2 * each;
  }
  for (std::size_t i = 0; i < held_.size(); ++i) {
    std::size_t offset = 0;  // of the range's moments
    for (const ElementRange& range : held_[i]) {
      pieces_.push_back({i, range});
      piece_moments_.push_back({moments_[i].first + offset, moments_[i].second + offset});
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
  for (std::size_t i = 0; i < pieces_.size(); ++i) {
    step_piece(i, {step, learning_rate, grad_scale}, stream, {});
  }
}

void AdamW::step_piece(std::size_t index,
                       const Update& update,
                       device::Stream& stream,
                       const Way& way) {
  // The kernel works with float32 betas; 1 - beta2 of 0.999 differs by 1e-5 there, so the
  // corrections use the same value.
  const auto beta1 = static_cast<float>(config_.beta1);
  const auto beta2 = static_cast<float>(config_.beta2);
  const auto step = static_cast<double>(update.step);
  const double correction1 = 1.0 - std::pow(static_cast<double>(beta1), step);
  const double correction2 = 1.0 - std::pow(static_cast<double>(beta2), step);
  const SteppedPiece& piece = pieces_[index];
  const model::Parameter& parameter = parameters_.all()[piece.parameter];
  const ElementRange& range = piece.elements;
  backend_.ops().adamw(
      {.param = parameter.value + range.begin,
       .m = piece_moments_[index].first,
       .v = piece_moments_[index].second,
       .grad = parameter.gradient + range.begin,
       .count = range.count(),
       .learning_rate = static_cast<float>(update.learning_rate),
       .beta1 = beta1,
       .beta2 = beta2,
       .epsilon = static_cast<float>(config_.epsilon),
       .weight_decay = parameter.spec.decay ? static_cast<float>(config_.weight_decay) : 0.0F,
       .grad_scale = static_cast<float>(update.grad_scale),
       .bias_correction1 = static_cast<float>(correction1),
       .bias_correction2 = static_cast<float>(correction2),
       .copy_or_null = parameter.copy == nullptr ? nullptr : parameter.copy + range.begin,
       .moment_dtype = config_.moments,
       .rounding = {.seed = seed_,
                    .parameter = static_cast<std::uint32_t>(parameter.global_index),
                    .step = static_cast<std::uint32_t>(update.step)},
       .first_element = range.begin,
       .writes = way.writes,
       .from_or_null = way.from_or_null},
      stream);
}

double clip_factor(double norm, double clip_grad_norm) {
  if (clip_grad_norm <= 0.0) return 1.0;
  return std::min(1.0, clip_grad_norm / (norm + 1e-6));
}

}  // namespace halfpipe::optimizer
