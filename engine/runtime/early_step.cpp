// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/early_step.h"

#include <cmath>
#include <utility>

namespace halfpipe::runtime {
namespace {

/// The kernel scales by a float32.
bool leaves_gradients_alone(double factor) {
  return static_cast<float>(factor) == 1.0F;
}

}  // namespace

EarlyStep::EarlyStep(const optimizer::OptimizerConfig& config,
                     optimizer::AdamW& adamw,
                     model::ParameterSet& parameters,
                     device::Backend& backend,
                     std::size_t bytes)
    : clip_grad_norm_(config.clip_grad_norm),
      adamw_(adamw),
      roll_back_(adamw, parameters, backend, bytes) {
  for (auto& event : stepped_) event = backend.make_event();
}

void EarlyStep::begin(optimizer::Update update,
                      double own_squares,
                      const std::function<bool()>& is_known,
                      device::Stream& stream) {
  const double factor = optimizer::clip_factor(std::sqrt(own_squares), clip_grad_norm_);
  const bool is_bad_guess =
      expects_clipping_ || !std::isfinite(own_squares) || !leaves_gradients_alone(factor);
  if (is_bad_guess || adamw_.pieces().empty()) return;
  update.grad_scale = 1.0;
  ++counts_.begun;
  do {
    device::Event& stepped = *stepped_[num_stepped_ % stepped_.size()];
    stepped.synchronize();
    roll_back_.keep(num_stepped_, stream);
    adamw_.step_piece(num_stepped_, update, stream);
    stream.record(stepped);
    ++num_stepped_;
  } while (num_stepped_ < adamw_.pieces().size() && !is_known());
}

std::size_t EarlyStep::settle(double factor, device::Stream& stream) {
  expects_clipping_ = !leaves_gradients_alone(factor);
  if (expects_clipping_) (void)take_back(stream);
  return std::exchange(num_stepped_, 0);
}

bool EarlyStep::take_back(device::Stream& stream) {
  if (num_stepped_ == 0) return false;
  for (std::size_t i = 0; i < num_stepped_; ++i) roll_back_.put_back(i, stream);
  num_stepped_ = 0;
  ++counts_.put_back;
  return true;
}

}  // namespace halfpipe::runtime
