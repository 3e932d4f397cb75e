// SPDX-License-Identifier: Apache-2.0
// One stage of the pipeline: a run of layers, executed pass by pass.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "engine/model/block.h"
#include "engine/model/embedding.h"
#include "engine/model/head.h"
#include "engine/model/stage_map.h"

namespace halfpipe::model {

/// What a stage's passes read and write outside their saved tensors; members that a stage has no
/// use for are null.
struct StageIo {
  const void* input;  // forward: activation [rows, C] of the stage before; backward_input:
                      // gradient of the output
  void* output;       // forward: activation [rows, C]; backward_input: gradient of the input
  const std::int32_t* tokens;  // [B, T] of the micro-batch, first stage
  LossTargets loss;            // last stage
};

class Stage {
 public:
  /// Adds the stage's parameters to `parameters`, whose shard it computes. B: sequences per
  /// micro-batch.
  Stage(const TransformerConfig& config,
        const std::vector<ParameterSpec>& model,
        const StageLayers& layers,
        std::int64_t B,
        ParameterSet& parameters);

  void forward(PassContext& ctx,
               const ParameterSet& parameters,
               const StageIo& io,
               SavedTensors& saved,
               device::Backend& backend) const;
  void backward_input(PassContext& ctx,
                      const ParameterSet& parameters,
                      const StageIo& io,
                      SavedTensors& saved,
                      device::Backend& backend) const;
  void backward_weight(PassContext& ctx, const ParameterSet& parameters, SavedTensors& saved) const;
  /// Ends the life of what forward saved, in place of the backward passes (evaluation).
  void discard(SavedTensors& saved) const;

  [[nodiscard]] const StageLayers& layers() const { return layers_; }
  [[nodiscard]] const SavedLayout& layout() const { return layout_; }
  /// Scratch that the hungriest pass takes, found by running all of them against a counting arena.
  [[nodiscard]] std::size_t workspace_bytes(device::Backend& backend,
                                            const ParameterSet& parameters,
                                            std::int64_t B) const;

 private:
  [[nodiscard]] std::size_t activation_bytes(const PassContext& ctx) const;
  /// The gradient of block `index`'s output, as backward_weight finds it.
  [[nodiscard]] const std::byte* saved_gradient(std::size_t index, const SavedTensors& saved) const;

  StageLayers layers_;
  std::int64_t C_;
  std::int64_t T_;
  DType dtype_;
  TensorShard shard_;
  SavedLayout layout_;
  std::optional<Embedding> embedding_;
  std::vector<Block> blocks_;
  std::optional<Head> head_;
  // Input of each block, [rows, C], until backward_weight. backward_input overwrites the input of
  // block l with its gradient, which is what block l - 1 needs in backward_weight; the first one's
  // is sent away, and its place takes the gradient of the stage's output, which the last block
  // needs.
  std::vector<int> block_inputs_;
  int head_input_ = -1;  // [rows, C], until backward_input
};

}  // namespace halfpipe::model
