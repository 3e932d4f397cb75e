// SPDX-License-Identifier: Apache-2.0
// The last layer: final LayerNorm, projection to the vocabulary, softmax cross-entropy. Tensor
// ranks share the vocabulary: each has the logits of its own ids, for every token, and every one
// computes all losses.
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

  /// Loss of x [rows, C]; leaves the gradient of the logits in their place. The caller keeps x
  /// until backward_input.
  void forward(PassContext& ctx,
               const ParameterSet& parameters,
               const void* x,
               const LossTargets& loss,
               SavedTensors& saved) const;
  /// dx [rows, C], which may be x, and all parameter gradients: the logits' gradient [N, V] is
  /// larger than everything else that a stage keeps, so the projection's weight gradient does not
  /// wait for backward_weight.
  void backward_input(PassContext& ctx,
                      const ParameterSet& parameters,
                      void* dx,
                      const void* x,
                      SavedTensors& saved) const;
  void discard(SavedTensors& saved) const;

 private:
  struct Saved {
    int mean, rstd;  // [rows]
    int norm_out;    // [rows, C], or [N, C] gathered
    int logits;      // [N, V]  becomes dlogits within forward
  };

  [[nodiscard]] bool keeps_gathered() const { return shard_.is_shared() && !shard_.gathers_again; }
  /// Losses of all tokens, and the gradient of the rank's logits in their place.
  void cross_entropy(PassContext& ctx, void* logits, const LossTargets& loss) const;

  std::int64_t C_;
  TensorShard shard_;
  std::int64_t V_;         // columns of the rank's logits
  std::int64_t first_id_;  // of the vocabulary, in the first of them
  std::int64_t num_ids_;   // in the first ones; the others are padding
  bool tied_;
  Norm norm_;
  int projection_;  // [V, C]
  Saved ids_;
};

}  // namespace halfpipe::model
