// SPDX-License-Identifier: Apache-2.0
#include "engine/model/model_cost.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <numeric>
#include <vector>

#include "engine/model/stage_map.h"
#include "kernels/core/error.h"

namespace halfpipe::model {
namespace {

TransformerConfig gpt2() {
  TransformerConfig config;  // 124M
  config.vocab_size = 50257;
  return config;
}

TEST(ModelCost, CountsTheParametersOfGpt2) {
  EXPECT_EQ(num_parameters(gpt2()), 124439808);
}

TEST(ModelCost, CountsModelFlopsByTheStatedConvention) {
  // 6 N + 6 L C T with N = 124439808 - 1024 * 768 (positions).
  EXPECT_DOUBLE_EQ(model_flops_per_token(gpt2()),
                   6.0 * (124439808.0 - 1024 * 768) + 6.0 * 12 * 768 * 1024);
  TransformerConfig untied = gpt2();
  untied.tie_embeddings = false;  // the look-up table costs nothing, the head's matrix does
  EXPECT_DOUBLE_EQ(model_flops_per_token(untied), model_flops_per_token(gpt2()));
}

TEST(ModelCost, GivesTheRankOfAHeavyHeadFewerBlocks) {
  const schedule::Placement v(schedule::PlacementKind::kV, 4, 2);
  const std::vector<int> blocks = balanced_blocks_per_stage(gpt2(), v, 1);
  EXPECT_EQ(std::accumulate(blocks.begin(), blocks.end(), 0), 12);
  EXPECT_LT(blocks[0] + blocks[7], blocks[1] + blocks[6]);
}

TEST(ModelCost, KeepsLogitsUntilBackwardInputOnTheLastStage) {
  const std::vector<StageLayers> map = make_stage_map(gpt2(), {6, 6});
  const schedule::CostModel costs = estimate_costs(gpt2(), map, 2);
  const std::int64_t logits = 2LL * 1024 * 50257 * 4;
  EXPECT_GT(costs.stages[1].forward_to_backward_input_bytes, logits);
  EXPECT_LT(costs.stages[0].forward_to_backward_input_bytes, logits / 100);
  EXPECT_EQ(costs.stages[0].forward_to_backward_weight_bytes,
            costs.stages[1].forward_to_backward_weight_bytes);
  // Floats per token and block: input C, two norms 2 C, qkv 3 C, attention C, x2 C, up 4 C, GELU 4
  // C.
  EXPECT_EQ(costs.stages[0].forward_to_backward_weight_bytes, 6LL * 2 * 1024 * 16 * 768 * 4);
}

TEST(ModelCost, MovesWhatIsComputedAgainFromForwardToBackward) {
  const std::vector<int> blocks{6, 6};
  TransformerConfig config = gpt2();
  const schedule::StageCost none =
      estimate_costs(config, make_stage_map(config, blocks), 2).stages[0];
  config.recompute = {Recompute::kSelective};
  const schedule::StageCost selective =
      estimate_costs(config, make_stage_map(config, blocks), 2).stages[0];
  config.recompute = {Recompute::kFull, Recompute::kNone};
  const schedule::CostModel by_stage = estimate_costs(config, make_stage_map(config, blocks), 2);
  const schedule::StageCost& full = by_stage.stages[0];

  // Floats of one value of width C of all blocks, for 2 sequences.
  const std::int64_t C = 6LL * 2 * 1024 * 768 * 4;
  EXPECT_EQ(none.backward_input_to_backward_weight_bytes, 0);
  // Kept: input C, qkv 3 C, x2 C, up 4 C.
  EXPECT_EQ(selective.forward_to_backward_weight_bytes, 9 * C);
  EXPECT_EQ(selective.backward_input_to_backward_weight_bytes, 7 * C);
  EXPECT_LT(selective.forward_to_backward_input_bytes, none.forward_to_backward_input_bytes);
  EXPECT_EQ(full.forward_to_backward_weight_bytes, C);
  EXPECT_EQ(full.backward_input_to_backward_weight_bytes, 15 * C);
  EXPECT_EQ(full.forward_to_backward_input_bytes, 0);
  EXPECT_EQ(by_stage.stages[1].forward_to_backward_weight_bytes, 16 * C);

  // In units of a block's forward: all of it but the last product, 4 C of 12 C (and the attention).
  const BlockFlops block = block_flops(config, 2);
  EXPECT_DOUBLE_EQ(full.forward_seconds, none.forward_seconds);
  EXPECT_DOUBLE_EQ(full.backward_weight_seconds, none.backward_weight_seconds);
  EXPECT_NEAR(full.backward_input_seconds - none.backward_input_seconds,
              6.0 * (1.0 - block.backward_weight / block.forward / 3.0), 1e-12);
  EXPECT_NEAR(selective.backward_input_seconds - none.backward_input_seconds,
              6.0 * (1.0 - block.backward_weight / block.forward), 1e-12);
}

TEST(StageMap, RefusesToLoseABlock) {
  EXPECT_THROW(static_cast<void>(make_stage_map(gpt2(), {6, 5})), InternalError);
  const std::vector<StageLayers> map = make_stage_map(gpt2(), {0, 12, 0});
  EXPECT_TRUE(map[0].has_embedding);
  EXPECT_EQ(map[2].first_block, 12);
  EXPECT_TRUE(map[2].has_head);
}

}  // namespace
}  // namespace halfpipe::model
