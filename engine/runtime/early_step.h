// SPDX-License-Identifier: Apache-2.0
// The optimizer's step while the norm of the gradients is still on its way: by the guess that it
// asks for no clipping, put back bit for bit where the guess was wrong. Idea from Qi et al. 2023,
// arXiv:2401.10241, section 4.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

#include "engine/optimizer/adamw.h"
#include "engine/optimizer/roll_back.h"
#include "kernels/device/backend.h"

namespace halfpipe::runtime {

/// Steps of one rank.
struct EarlySteps {
  std::int64_t begun = 0;     // before their norm was known
  std::int64_t put_back = 0;  // of those: it asked for clipping, or was no number
};

class EarlyStep {
 public:
  /// bytes: to take, at least optimizer::roll_back_bytes. All must outlive this.
  EarlyStep(const optimizer::OptimizerConfig& config,
            optimizer::AdamW& adamw,
            model::ParameterSet& parameters,
            device::Backend& backend,
            std::size_t bytes);

  /// Steps the first piece and then piece by piece until all are done or is_known(), which is asked
  /// while the device is at work. Steps nothing where the guess would be a bad one: own_squares,
  /// the part of the norm's square that this rank knows, asks for clipping already, or the last
  /// norm did. update.grad_scale is not used.
  void begin(optimizer::Update update,
             double own_squares,
             const std::function<bool()>& is_known,
             device::Stream& stream);
  /// The norm gives this factor. Returns how many pieces have been stepped with it, the first ones;
  /// the others are as they were before begin().
  [[nodiscard]] std::size_t settle(double factor, device::Stream& stream);
  /// There is to be no step: everything is as before begin(), but for copies in bfloat16 where the
  /// result is true.
  [[nodiscard]] bool take_back(device::Stream& stream);

  [[nodiscard]] const EarlySteps& counts() const { return counts_; }
  [[nodiscard]] std::size_t bytes() const { return roll_back_.bytes(); }

 private:
  double clip_grad_norm_;
  optimizer::AdamW& adamw_;
  optimizer::RollBack roll_back_;
  // Of the last pieces but one and but two: the host goes no further ahead of the device.
  std::array<std::unique_ptr<device::Event>, 2> stepped_;
  std::size_t num_stepped_ = 0;
  bool expects_clipping_ = false;
  EarlySteps counts_;
};

}  // namespace halfpipe::runtime
