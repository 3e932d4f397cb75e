// SPDX-License-Identifier: Apache-2.0
// The parameters of the next step while the norm of the gradients is still on its way: by the guess
// that it asks for no clipping. Moments, and where passes read copies in bfloat16 the values, too,
// change only when the norm is known. Idea from Qi et al. 2023, arXiv:2401.10241, section 4.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/config/run_config.h"
#include "engine/optimizer/adamw.h"
#include "kernels/device/backend.h"
#include "kernels/device/buffer.h"

namespace halfpipe::runtime {

/// Steps of one rank.
struct EarlySteps {
  std::int64_t begun = 0;     // before their norm was known
  std::int64_t put_back = 0;  // of those: it asked for clipping, or was no number
};

class EarlyStep {
 public:
  /// bytes: to take, at least early_step_bytes of what adamw steps. All must outlive this.
  EarlyStep(const config::RunConfig& config,
            optimizer::AdamW& adamw,
            const model::ParameterSet& parameters,
            device::Backend& backend,
            std::size_t bytes);

  /// Not where the last norm asked for clipping, or was no number: the next one will, too.
  [[nodiscard]] bool is_worth_a_guess() const { return !expects_clipping_; }
  /// What passes read of this rank's elements is as after the update, with factor 1; its grad_scale
  /// is not used. Ordered by the stream, as all that follows.
  void show(optimizer::Update update, device::Stream& stream);
  /// The norm of this step, shown or not, gives this factor. Returns whether a guess is right.
  bool look_at(double factor);
  /// Takes the shown step, or the same one with another factor.
  void take(const optimizer::Update& update, device::Stream& stream);
  /// There is to be no step: elements of this rank are as before show(), but for copies in
  /// bfloat16.
  void take_back(device::Stream& stream);

  [[nodiscard]] const EarlySteps& counts() const { return counts_; }
  [[nodiscard]] std::size_t bytes() const { return kept_.bytes(); }

 private:
  enum class Way : std::uint8_t { kKeep, kPutBack };
  void move_values(Way way, device::Stream& stream);
  /// Pieces that are kept as they lie among the values, padding included: one copy moves them.
  struct Run {
    float* values;
    float* kept;
    std::int64_t count;
  };

  optimizer::AdamW& adamw_;
  device::Backend& backend_;
  device::Buffer kept_;         // values before a shown step
  std::vector<float*> places_;  // [pieces] there; empty where copies alone show it
  std::vector<Run> runs_;       // of all pieces
  bool expects_clipping_ = false;
  EarlySteps counts_;
};

/// What a rank that steps these elements takes for it: a copy of their values in float32; nothing
/// where passes read copies in bfloat16 that no other replica has to be sent as values.
[[nodiscard]] std::size_t early_step_bytes(const config::RunConfig& config,
                                           const std::vector<optimizer::ElementRanges>& held);

}  // namespace halfpipe::runtime
