// SPDX-License-Identifier: Apache-2.0
// A pre-LayerNorm transformer block of GPT-2 (Radford et al. 2019):
//   x2 = x + proj(attention(qkv(norm1(x))))
//   y  = x2 + down(gelu(up(norm2(x2))))
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/model/layer.h"
#include "engine/model/recompute.h"
#include "engine/model/saved_tensors.h"

namespace halfpipe::model {

class Block {
 public:
  /// Adds the parameters of block `layer` to `parameters` and its saved tensors for B sequences of
  /// T tokens to `layout`.
  Block(const TransformerConfig& config,
        const std::vector<ParameterSpec>& model,
        int layer,
        Recompute recompute,
        std::int64_t B,
        ParameterSet& parameters,
        SavedLayout& layout);

  /// y [N, C] from x [N, C]. The caller keeps x until backward_input.
  void forward(PassContext& ctx,
               const ParameterSet& parameters,
               void* y,
               const void* x,
               SavedTensors& saved) const;
  /// Starts the life of what backward_input computes again for backward_weight. Before any tensor
  /// of the stage is released: what a stage holds at once is then what plans count.
  void begin_backward(SavedTensors& saved) const;
  /// dx [N, C] from dy [N, C]. dx may be x. The caller keeps dy until backward_weight. After
  /// begin_backward.
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
  // What forward computes. Where backward_input turns a value into its gradient in place, the
  // gradient is named too: that is why the bytes kept do not grow between the two backward passes.
  enum Value : std::uint8_t {
    kNorm1Out,      // [N, C]
    kQkv,           // [N, 3C]     becomes dqkv
    kAttentionOut,  // [N, C]
    kX2,            // [N, C]      becomes dx2
    kNorm2Out,      // [N, C]
    kUpOut,         // [N, 4C]     becomes its gradient
    kGeluOut,       // [N, 4C]
    kNumValues,
  };
  enum Statistic : std::uint8_t {
    kMean1,  // [N]
    kRstd1,  // [N]
    kMean2,  // [N]
    kRstd2,  // [N]
    kLse,    // [B, NH, T]
    kNumStatistics,
  };
  /// Where they lie in one pass: in the arena, or in the pass's workspace.
  struct Places {
    std::array<std::byte*, kNumValues> values{};
    std::array<float*, kNumStatistics> statistics{};
  };

  [[nodiscard]] std::int64_t columns_of(Value value) const;
  /// Elements for N tokens.
  [[nodiscard]] std::int64_t count_of(Statistic statistic, std::int64_t N) const;
  [[nodiscard]] float* take(PassContext& ctx, Statistic statistic) const;
  [[nodiscard]] Lifetime lifetime_of(Value value) const;
  [[nodiscard]] bool keeps(Statistic statistic) const;
  /// Of forward: what is not kept lies in the workspace, and shares places there.
  [[nodiscard]] Places places_of_forward(PassContext& ctx, SavedTensors& saved) const;
  /// Of backward_input, computed again where forward did not keep them.
  [[nodiscard]] Places recompute(PassContext& ctx,
                                 const ParameterSet& parameters,
                                 const void* x,
                                 SavedTensors& saved) const;
  // The parts of forward up to gelu_out.
  void forward_norm1(PassContext&, const ParameterSet&, const Places&, const void* x) const;
  void forward_attention(PassContext&, const Places&) const;
  void forward_norm2(PassContext&, const ParameterSet&, const Places&) const;
  void forward_gelu(PassContext&, const Places&) const;
  /// All of them, with the products between them.
  void forward_values(PassContext&, const ParameterSet&, const Places&, const void* x) const;
  [[nodiscard]] ops::AttentionDims attention_dims(const PassContext& ctx) const;

  std::int64_t C_;
  std::int64_t NH_;
  Norm norm1_, norm2_;
  Linear qkv_, proj_, up_, down_;
  Recompute recompute_;
  std::array<int, kNumValues> value_ids_{};
  std::array<int, kNumStatistics> statistic_ids_{};  // -1: not kept
};

}  // namespace halfpipe::model
