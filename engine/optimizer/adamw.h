// SPDX-License-Identifier: Apache-2.0
// AdamW over the parameters of one rank, or over this replica's part of them, and the factor that
// clips gradients.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/model/parameter.h"
#include "engine/optimizer/element_ranges.h"
#include "engine/optimizer/optimizer_config.h"
#include "kernels/core/dtype.h"
#include "kernels/device/backend.h"
#include "kernels/device/buffer.h"
#include "kernels/ops/optimizer.h"

namespace halfpipe::optimizer {

/// Elements that lie side by side, in the parameter and among the moments.
struct SteppedPiece {
  std::size_t parameter;  // index in the set
  ElementRange elements;
};

/// What a step does to every element.
struct Update {
  std::int64_t step;  // counts from 1, over the whole training
  double learning_rate;
  double grad_scale;
};

/// First and second moments of the elements that a rank steps, in the element type that the
/// configuration names.
class AdamW {
 public:
  /// Moments start at zero. parameters must be allocated and outlive this. seed: of the rounding of
  /// moments in bfloat16, which is a function of it, the parameter's global index, the step and the
  /// element alone: whoever steps an element gives it the same bits. held: the elements that this
  /// rank steps, for each parameter of the set. bytes: to take, at least moment_bytes(held).
  AdamW(const OptimizerConfig& config,
        std::uint64_t seed,
        const model::ParameterSet& parameters,
        device::Backend& backend,
        std::vector<ElementRanges> held,
        std::size_t bytes);
  /// Of all elements.
  AdamW(const OptimizerConfig& config,
        std::uint64_t seed,
        const model::ParameterSet& parameters,
        device::Backend& backend);

  /// One update of the held elements, and of their copies, with the gradients scaled by grad_scale.
  /// step counts from 1, over the whole training.
  void step(std::int64_t step, double learning_rate, double grad_scale, device::Stream& stream);

  /// Each held element is in one of them.
  [[nodiscard]] const std::vector<SteppedPiece>& pieces() const { return pieces_; }
  /// How a step is shown before it is taken, and taken then: ops::AdamW.
  struct Way {
    ops::AdamWWrites writes = ops::AdamWWrites::kAll;
    std::span<float* const> from = {};  // [pieces]: where their values are; empty: in place
  };
  void step(const Update& update, const Way& way, device::Stream& stream);

  /// The elements of the parameter at `index` of the set whose moments this rank holds.
  [[nodiscard]] const ElementRanges& moment_ranges(std::size_t index) const { return held_[index]; }
  /// Their moments, range after range without gaps, of moment_dtype().
  [[nodiscard]] void* first_moment(std::size_t index) const { return moments_[index].first; }
  [[nodiscard]] void* second_moment(std::size_t index) const { return moments_[index].second; }
  [[nodiscard]] DType moment_dtype() const { return config_.moments; }
  [[nodiscard]] std::size_t bytes() const { return memory_.bytes(); }

 private:
  struct Moments {
    std::byte* first;
    std::byte* second;
  };

  OptimizerConfig config_;
  device::Backend& backend_;
  std::vector<ElementRanges> held_;  // [parameters of the set]
  device::Buffer memory_;
  std::vector<Moments> moments_;  // [parameters of the set]
  std::vector<SteppedPiece> pieces_;
  std::vector<ops::AdamW> steps_;  // [pieces]
};

/// Bytes of the moments of these elements.
[[nodiscard]] std::size_t moment_bytes(const std::vector<ElementRanges>& held, DType dtype);

/// Factor that scales gradients of this global norm to at most clip_grad_norm; 1 when clipping is
/// off. As torch.nn.utils.clip_grad_norm_: clip / (norm + 1e-6), never above 1.
[[nodiscard]] double clip_factor(double norm, double clip_grad_norm);

}  // namespace halfpipe::optimizer
