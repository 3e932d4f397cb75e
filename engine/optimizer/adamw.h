// SPDX-License-Identifier: Apache-2.0
// AdamW over the parameters of one rank, and the pieces of a step that all ranks agree on.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/model/parameter.h"
#include "engine/optimizer/optimizer_config.h"
#include "kernels/core/dtype.h"
#include "kernels/device/arena.h"
#include "kernels/device/backend.h"

namespace halfpipe::optimizer {

/// First and second moments of every parameter of a rank, in the element type that the
/// configuration names.
class AdamW {
 public:
  /// Moments start at zero. parameters must be allocated and outlive this. seed: of the rounding of
  /// moments in bfloat16, which is a function of it, the parameter's global index, the step and the
  /// element alone: copies of a parameter on several ranks stay equal bit for bit.
  AdamW(const OptimizerConfig& config,
        std::uint64_t seed,
        model::ParameterSet& parameters,
        device::Backend& backend);

  /// One update with the gradients scaled by grad_scale. step counts from 1, over the whole
  /// training.
  void step(std::int64_t step, double learning_rate, double grad_scale, device::Stream& stream);

  /// Moments of the parameter at `index` of the set, shaped like it, of moment_dtype().
  [[nodiscard]] void* first_moment(std::size_t index) const { return moments_[index].first; }
  [[nodiscard]] void* second_moment(std::size_t index) const { return moments_[index].second; }
  [[nodiscard]] DType moment_dtype() const { return config_.moments; }
  [[nodiscard]] std::size_t bytes() const { return memory_.bytes(); }

 private:
  struct Moments {
    void* first;
    void* second;
  };

  OptimizerConfig config_;
  std::uint64_t seed_;
  model::ParameterSet& parameters_;
  device::Backend& backend_;
  device::Buffer memory_;
  std::vector<Moments> moments_;  // [parameters of the set]
};

/// Bytes that AdamW takes for moments of these parameters.
[[nodiscard]] std::size_t moment_bytes(const std::vector<model::Parameter>& parameters,
                                       DType dtype);

/// sums[global_index] = sum of squares of the gradient of each parameter that this rank owns; the
/// other entries stay. Valid when the stream has been synchronized. Where sums is pinned memory,
/// the host does not wait for each of them.
void gradient_squares(const model::ParameterSet& parameters,
                      device::Backend& backend,
                      device::Arena& workspace,
                      device::Stream& stream,
                      std::span<double> sums);

/// Factor that scales gradients of this global norm to at most clip_grad_norm; 1 when clipping is
/// off. As torch.nn.utils.clip_grad_norm_: clip / (norm + 1e-6), never above 1.
[[nodiscard]] double clip_factor(double norm, double clip_grad_norm);

}  // namespace halfpipe::optimizer
