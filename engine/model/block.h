// SPDX-License-Identifier: Apache-2.0
// A pre-LayerNorm transformer block of GPT-2 (Radford et al. 2019):
//   x2 = x + proj(attention(qkv(norm1(x))))
//   y  = x2 + down(gelu(up(norm2(x2))))
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/model/layer.h"
#include "engine/model/saved_tensors.h"

namespace halfpipe::model {

class Block {
 public:
  /// Adds the parameters of block `layer` to `parameters` and its saved tensors for B sequences of
  /// T tokens to `layout`.
  Block(const TransformerConfig& config,
        const std::vector<ParameterSpec>& model,
        int layer,
        std::int64_t B,
        ParameterSet& parameters,
        SavedLayout& layout);

  /// y [N, C] from x [N, C]. The caller keeps x until backward_input.
  void forward(PassContext& ctx,
               const ParameterSet& parameters,
               void* y,
               const void* x,
               SavedTensors& saved) const;
  /// dx [N, C] from dy [N, C]. dx may be x. The caller keeps dy until backward_weight.
  void backward_input(PassContext& ctx,
                      const ParameterSet& parameters,
                      void* dx,
                      const void* dy,
                      const void* x,
                      SavedTensors& saved) const;
  void backward_weight(PassContext& ctx,
                       const ParameterSet& parameters,
                       const void* dy,
                       SavedTensors& saved) const;
  /// Ends the life of everything that forward saved, when no backward pass will come (evaluation).
  void discard(SavedTensors& saved) const;

 private:
  // Ids of saved tensors. Where backward_input turns a value into its gradient in place, the
  // gradient is named too: that is why the bytes kept do not grow between the two backward passes.
  struct Saved {
    int mean1, rstd1, mean2, rstd2;  // [N]         until backward_input
    int lse;                         // [B, NH, T]  until backward_input
    int norm1_out;                   // [N, C]
    int qkv;                         // [N, 3C]     becomes dqkv
    int attention_out;               // [N, C]
    int x2;                          // [N, C]      becomes dx2
    int norm2_out;                   // [N, C]
    int up_out;                      // [N, 4C]     becomes its gradient
    int gelu_out;                    // [N, 4C]
  };

  [[nodiscard]] ops::AttentionDims attention_dims(const PassContext& ctx) const;

  std::int64_t C_;
  std::int64_t NH_;
  Norm norm1_, norm2_;
  Linear qkv_, proj_, up_, down_;
  Saved ids_;
};

}  // namespace halfpipe::model
