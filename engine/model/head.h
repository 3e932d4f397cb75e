// SPDX-License-Identifier: Apache-2.0
// The last layer: final LayerNorm, projection to the vocabulary, softmax cross-entropy.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/model/layer.h"
#include "engine/model/saved_tensors.h"

namespace halfpipe::model {

/// What the loss reads and writes.
struct LossTargets {
  const std::int32_t* targets;  // [N]
  float* losses;                // [N]  nats per token, overwritten
  float scale;                  // of the gradient: 1 / tokens per step; 0 in evaluation
};

class Head {
 public:
  Head(const TransformerConfig& config,
       const std::vector<ParameterSpec>& model,
       std::int64_t B,
       ParameterSet& parameters,
       SavedLayout& layout);

  /// Loss of x [N, C]; leaves the gradient of the logits in their place. The caller keeps x until
  /// backward_input.
  void forward(PassContext& ctx,
               const ParameterSet& parameters,
               const void* x,
               const LossTargets& loss,
               SavedTensors& saved) const;
  /// dx [N, C], which may be x, and all parameter gradients: the logits' gradient [N, V] is larger
  /// than everything else that a stage keeps, so the projection's weight gradient does not wait for
  /// backward_weight.
  void backward_input(PassContext& ctx,
                      const ParameterSet& parameters,
                      void* dx,
                      const void* x,
                      SavedTensors& saved) const;
  void discard(SavedTensors& saved) const;

 private:
  struct Saved {
    int mean, rstd;  // [N]
    int norm_out;    // [N, C]
    int logits;      // [N, V]  becomes dlogits within forward
  };

  std::int64_t C_;
  std::int64_t V_;
  bool tied_;
  Norm norm_;
  int projection_;  // [V, C]
  Saved ids_;
};

}  // namespace halfpipe::model
