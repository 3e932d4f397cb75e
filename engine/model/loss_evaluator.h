// SPDX-License-Identifier: Apache-2.0
// The loss of token windows under a whole model on one rank, without gradients or optimizer state.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/model/stage.h"
#include "kernels/device/buffer.h"

namespace halfpipe::model {

class LossEvaluator {
 public:
  /// Takes memory for the parameters (undefined until loaded) and for B windows of seq_len tokens.
  LossEvaluator(const TransformerConfig& config, device::Backend& backend, std::int64_t B);

  [[nodiscard]] ParameterSet& parameters() { return parameters_; }
  [[nodiscard]] std::int64_t num_sequences() const { return B_; }
  /// Sum of the losses of the first num_targets tokens, in nats. inputs and targets are [B,
  /// seq_len]; what follows the counted targets is padding.
  double sum_of_losses(std::span<const std::int32_t> inputs,
                       std::span<const std::int32_t> targets,
                       std::int64_t num_targets);

 private:
  TransformerConfig config_;
  device::Backend& backend_;
  std::int64_t B_;
  std::unique_ptr<device::Stream> stream_;
  ParameterSet parameters_;
  std::unique_ptr<Stage> stage_;
  LiveBytes live_;
  device::Buffer saved_, workspace_, tokens_, targets_, losses_;
  std::vector<float> host_losses_;
};

}  // namespace halfpipe::model
