// SPDX-License-Identifier: Apache-2.0
#include "engine/model/model_cost.h"

#include "engine/model/recompute.h"
#include "engine/model/stage.h"
#include "parallel/schedule/partition.h"

namespace halfpipe::model {

namespace {

/// Scores and values, two products of T^2 C each, half of them masked.
double attention_flops(const TransformerConfig& config, double tokens) {
  return 2.0 * tokens * static_cast<double>(config.seq_len) *
         static_cast<double>(config.hidden_size);
}

/// Of all stages.
double mean_recompute_flops(const TransformerConfig& config, std::int64_t B) {
  double sum = 0.0;
  for (const Recompute recompute : config.recompute) {
    sum += recompute_flops(config, B, recompute);
  }
  return config.recompute.empty() ? 0.0 : sum / static_cast<double>(config.recompute.size());
}

}  // namespace

BlockFlops block_flops(const TransformerConfig& config, std::int64_t B) {
  const auto C = static_cast<double>(config.hidden_size);
  const auto F = static_cast<double>(config.mlp_size());
  const double tokens = static_cast<double>(B) * config.seq_len;
  const double linear = 2.0 * tokens * (4.0 * C * C + 2.0 * C * F);
  const double attention = attention_flops(config, tokens);
  return {linear + attention, linear + 2.5 * attention, linear};  // its gradients: five products
}

double recompute_flops(const TransformerConfig& config, std::int64_t B, Recompute recompute) {
  const auto C = static_cast<double>(config.hidden_size);
  const auto F = static_cast<double>(config.mlp_size());
  const double tokens = static_cast<double>(B) * config.seq_len;
  switch (recompute) {
    case Recompute::kNone:
      return 0.0;
    case Recompute::kSelective:
      return attention_flops(config, tokens);
    case Recompute::kFull:  // all but the last product: nobody needs the block's output
      return attention_flops(config, tokens) + 2.0 * tokens * (4.0 * C * C + C * F);
  }
  return 0.0;
}

double head_forward_flops(const TransformerConfig& config, std::int64_t B) {
  return 2.0 * static_cast<double>(B) * config.seq_len * static_cast<double>(config.hidden_size) *
         config.vocab_size;
}

std::int64_t num_parameters(const TransformerConfig& config) {
  std::int64_t count = 0;
  for (const ParameterSpec& spec : all_parameters(config)) count += spec.shape.num_elements();
  return count;
}

double model_flops_per_token(const TransformerConfig& config) {
  const auto C = static_cast<double>(config.hidden_size);
  const auto T = static_cast<double>(config.seq_len);
  const auto tables =
      static_cast<std::int64_t>(config.seq_len) * config.hidden_size +
      (config.tie_embeddings ? 0
                             : static_cast<std::int64_t>(config.vocab_size) * config.hidden_size);
  const auto N = static_cast<double>(num_parameters(config) - tables);
  return 6.0 * N + 6.0 * config.num_layers * C * T;
}

std::vector<int> balanced_blocks_per_stage(const TransformerConfig& config,
                                           const schedule::Placement& placement,
                                           std::int64_t B) {
  // The embedding is a look-up: nothing beside a block. The head has one product forward and two
  // backward.
  return schedule::partition_blocks(
      placement, config.num_layers,
      block_flops(config, B).total() + mean_recompute_flops(config, B), 0.0,
      3.0 * head_forward_flops(config, B));
}

std::int64_t message_bytes(const TransformerConfig& config,
                           std::int64_t B,
                           const TensorShard& shard) {
  return B * config.seq_len / shard.ranks * config.hidden_size *
         static_cast<std::int64_t>(size_of(config.dtype));
}

schedule::CostModel estimate_costs(const TransformerConfig& config,
                                   const std::vector<StageLayers>& stage_map,
                                   std::int64_t B,
                                   const TensorShard& shard) {
  const BlockFlops block = block_flops(config, B);
  const double head = head_forward_flops(config, B) / block.forward;
  const std::vector<ParameterSpec> model = all_parameters(config);
  schedule::CostModel costs;
  for (const StageLayers& layers : stage_map) {
    ParameterSet parameters(shard);
    const Stage stage(config, model, layers, B, parameters);
    const double blocks = layers.num_blocks;
    schedule::StageCost cost;
    cost.forward_seconds = blocks + (layers.has_head ? head : 0.0);
    cost.backward_input_seconds =
        blocks *
            (block.backward_input +
             recompute_flops(config, B, recompute_of(config, layers.stage))) /
            block.forward +
        (layers.has_head ? 2.0 * head : 0.0);
    cost.backward_weight_seconds = blocks * block.backward_weight / block.forward;
    const auto bytes = [&](Lifetime lifetime) {
      return static_cast<std::int64_t>(stage.layout().bytes(lifetime));
    };
    cost.forward_to_backward_input_bytes = bytes(Lifetime::kForwardToBackwardInput);
    cost.forward_to_backward_weight_bytes = bytes(Lifetime::kForwardToBackwardWeight);
    cost.backward_input_to_backward_weight_bytes = bytes(Lifetime::kBackwardInputToBackwardWeight);
    costs.stages.push_back(cost);
  }
  costs.message_bytes = message_bytes(config, B, shard);
  return costs;
}

}  // namespace halfpipe::model
