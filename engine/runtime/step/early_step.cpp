// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/step/early_step.h"

#include "kernels/core/align.h"
#include "kernels/core/error.h"

namespace halfpipe::runtime {
namespace {

/// The kernel scales by a float32.
bool leaves_gradients_alone(double factor) {
  return static_cast<float>(factor) == 1.0F;
}

/// Whether values in float32 change when a step is shown. With zero_stage 1 replicas send each
/// other values.
bool shows_values(const config::RunConfig& config) {
  return config.model.dtype == DType::kFloat32 || config.optimizer.zero_stage > 0;
}

std::size_t kept_bytes(const optimizer::ElementRange& range) {
  return padded_bytes(static_cast<std::size_t>(range.count()) * sizeof(float));
}

}  // namespace

std::size_t early_step_bytes(const config::RunConfig& config,
                             const std::vector<optimizer::ElementRanges>& held) {
  if (!config.steps_early() || !shows_values(config)) return 0;
  std::size_t bytes = 0;
  for (const optimizer::ElementRanges& ranges : held) {
    for (const optimizer::ElementRange& range : ranges) bytes += kept_bytes(range);
  }
  return bytes;
}

EarlyStep::EarlyStep(const config::RunConfig& config,
                     optimizer::AdamW& adamw,
                     const model::ParameterSet& parameters,
                     device::Backend& backend,
                     std::size_t bytes)
    : adamw_(adamw), backend_(backend), kept_(backend, bytes) {
  if (!shows_values(config)) return;
  std::size_t taken = 0;
  bool ends_parameter = false;  // the piece before: only padding follows it
  for (const optimizer::SteppedPiece& piece : adamw.pieces()) {
    const model::Parameter& parameter = parameters.all()[piece.parameter];
    float* const values = parameter.value + piece.elements.begin;
    auto* const kept = reinterpret_cast<float*>(kept_.bytes_pointer() + taken);
    const bool goes_on = ends_parameter && values - runs_.back().values == kept - runs_.back().kept;
    if (!goes_on) runs_.push_back({values, kept, 0});
    runs_.back().count = values - runs_.back().values + piece.elements.count();
    ends_parameter = piece.elements.end == parameter.count();
    places_.push_back(kept);
    taken += kept_bytes(piece.elements);
  }
  HALFPIPE_CHECK(taken <= bytes, "what a step overwrites needs more memory");
}

void EarlyStep::show(optimizer::Update update, device::Stream& stream) {
  update.grad_scale = 1.0;
  ++counts_.begun;
  move_values(Way::kKeep, stream);
  const bool values = !places_.empty();
  adamw_.step(update, {.writes = values ? ops::AdamWWrites::kParam : ops::AdamWWrites::kCopy},
              stream);
}

bool EarlyStep::look_at(double factor) {
  expects_clipping_ = !leaves_gradients_alone(factor);
  return !expects_clipping_;
}

void EarlyStep::take(const optimizer::Update& update, device::Stream& stream) {
  if (!leaves_gradients_alone(update.grad_scale)) ++counts_.put_back;
  adamw_.step(update, {.from = places_}, stream);
}

void EarlyStep::take_back(device::Stream& stream) {
  ++counts_.put_back;
  move_values(Way::kPutBack, stream);
}

void EarlyStep::move_values(Way way, device::Stream& stream) {
  for (const Run& run : runs_) {
    const std::size_t bytes = static_cast<std::size_t>(run.count) * sizeof(float);
    if (way == Way::kKeep) {
      backend_.copy_async(run.kept, run.values, bytes, stream);
    } else {
      backend_.copy_async(run.values, run.kept, bytes, stream);
    }
  }
}

}  // namespace halfpipe::runtime
