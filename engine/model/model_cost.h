// SPDX-License-Identifier: Apache-2.0
// What the stages of a transformer cost, before anything was measured: floating-point operations
// and bytes.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/model/stage_map.h"
#include "engine/model/tensor_shard.h"
#include "engine/model/transformer_config.h"
#include "parallel/schedule/cost_model.h"
#include "parallel/schedule/placement.h"

namespace halfpipe::model {

/// Floating-point operations of one block for one micro-batch of B sequences; causal attention
/// counted at half.
struct BlockFlops {
  double forward;
  double backward_input;
  double backward_weight;
  [[nodiscard]] double total() const { return forward + backward_input + backward_weight; }
};
[[nodiscard]] BlockFlops block_flops(const TransformerConfig& config, std::int64_t B);
/// What backward_input does more where it computes the block's activations again.
[[nodiscard]] double recompute_flops(const TransformerConfig& config,
                                     std::int64_t B,
                                     Recompute recompute);
/// Of the head: forward, and both of its gradients, which run in backward_input.
[[nodiscard]] double head_forward_flops(const TransformerConfig& config, std::int64_t B);

/// Model FLOPs per token of training, 6 N + 6 L C T (N: parameters without position embedding, a
/// tied head counted once; causal attention at half). The convention of every MFU that Halfpipe
/// prints.
[[nodiscard]] double model_flops_per_token(const TransformerConfig& config);
[[nodiscard]] std::int64_t num_parameters(const TransformerConfig& config);

/// Blocks per stage, balanced by block_flops, recompute_flops (where stages differ: their mean) and
/// head_forward_flops over the ranks of the placement.
[[nodiscard]] std::vector<int> balanced_blocks_per_stage(const TransformerConfig& config,
                                                         const schedule::Placement& placement,
                                                         std::int64_t B);

/// Of one activation or gradient between two stages: of a tensor rank's own tokens.
[[nodiscard]] std::int64_t message_bytes(const TransformerConfig& config,
                                         std::int64_t B,
                                         const TensorShard& shard = {});

/// Times in units of one block's forward pass, which tensor ranks share alike; bytes of one of
/// them, from the layouts of the saved tensors.
[[nodiscard]] schedule::CostModel estimate_costs(const TransformerConfig& config,
                                                 const std::vector<StageLayers>& stage_map,
                                                 std::int64_t B,
                                                 const TensorShard& shard = {});

}  // namespace halfpipe::model
