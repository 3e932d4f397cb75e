// SPDX-License-Identifier: Apache-2.0
// A pre-LayerNorm transformer block of GPT-2 (Radford et al. 2019):
//   x2 = x + proj(attention(qkv(norm1(x))))
//   y  = x2 + down(gelu(up(norm2(x2))))
// Tensor ranks share qkv and up by columns, proj and down by rows; x, x2, y and the norms are those
// of the rank's own tokens (tensor_shard.h). With one rank those are all.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/model/layer.h"
#include "engine/model/recompute.h"
#include "engine/model/saved_tensors.h"
#include "engine/model/shared_rows.h"

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

  /// y [rows, C] from x [rows, C]. The caller keeps x until backward_input.
  void forward(PassContext& ctx,
               const ParameterSet& parameters,
               void* y,
               const void* x,
               SavedTensors& saved) const;
  /// Starts the life of what backward_input computes again for backward_weight. Before any tensor
  /// of the stage is released: what a stage holds at once is then what plans count.
  void begin_backward(SavedTensors& saved) const;
  /// dx [rows, C] from dy [rows, C]. dx may be x. The caller keeps dy until backward_weight. After
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
  // Columns are the rank's own.
  enum Value : std::uint8_t {
    kNorm1Out,      // [rows, C], or [N, C] gathered
    kQkv,           // [N, 3C]     becomes dqkv
    kAttentionOut,  // [N, C]
    kX2,            // [rows, C]   becomes dx2
    kNorm2Out,      // [rows, C], or [N, C] gathered
    kUpOut,         // [N, 4C]     becomes its gradient
    kGeluOut,       // [N, 4C]
    // Gradients that backward_input gathers and, unless tensor ranks gather again, backward_weight
    // reads.
    kDyGathered,   // [N, C]
    kDx2Gathered,  // [N, C]
    kNumValues,
  };
  enum Statistic : std::uint8_t {
    kMean1,  // [rows]
    kRstd1,  // [rows]
    kMean2,  // [rows]
    kRstd2,  // [rows]
    kLse,    // [B, NH, T]   of the rank's heads
    kNumStatistics,
  };
  /// Where they lie in one pass: in the arena, or in the pass's workspace.
  struct Places {
    std::array<std::byte*, kNumValues> values{};
    std::array<float*, kNumStatistics> statistics{};
  };

  /// Elements for N tokens; 0 for a value that is not there.
  [[nodiscard]] std::int64_t count_of(Value value, std::int64_t N) const;
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
  /// The output of a norm, where it is written: gathered it has a place among the others'.
  [[nodiscard]] void* norm_out(const PassContext& ctx, void* value) const;
  /// All rows of what lies there, gathered again where it is not kept so.
  [[nodiscard]] const void* whole_norm(PassContext& ctx, const void* value) const;
  /// All rows of a gradient [rows, C], gathered into its place or into the workspace.
  [[nodiscard]] const void* whole_gradient(PassContext& ctx,
                                           Value place,
                                           const void* part,
                                           const SavedTensors& saved) const;
  /// All of them, with the products between them.
  void forward_values(PassContext&, const ParameterSet&, const Places&, const void* x) const;
  [[nodiscard]] ops::AttentionDims attention_dims(const PassContext& ctx) const;

  [[nodiscard]] bool keeps_gathered() const { return shard_.is_shared() && !shard_.gathers_again; }

  std::int64_t C_;
  TensorShard shard_;
  std::int64_t NH_;  // of the rank
  std::int64_t HS_;
  Norm norm1_, norm2_;
  Linear qkv_, proj_, up_, down_;
  Recompute recompute_;
  bool fused_gelu_;
  bool fused_bias_gradient_;                         // of up_, summed by backward_input
  std::array<int, kNumValues> value_ids_{};          // -1: not kept
  std::array<int, kNumStatistics> statistic_ids_{};  // -1: not kept
};

}  // namespace halfpipe::model
