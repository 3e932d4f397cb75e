// SPDX-License-Identifier: Apache-2.0
#include "engine/model/stage_map.h"

#include "kernels/core/error.h"

namespace halfpipe::model {

std::vector<StageLayers> make_stage_map(const TransformerConfig& config,
                                        const std::vector<int>& blocks_per_stage) {
  std::vector<StageLayers> map;
  int first_block = 0;
  const int num_stages = static_cast<int>(blocks_per_stage.size());
  for (int stage = 0; stage < num_stages; ++stage) {
    const int num_blocks = blocks_per_stage[static_cast<std::size_t>(stage)];
    HALFPIPE_CHECK(num_blocks >= 0, "a stage has a negative number of blocks");
    map.push_back({stage, first_block, num_blocks, stage == 0, stage == num_stages - 1});
    first_block += num_blocks;
  }
  // A peer once trained 28 layers out of 30 without a word.
  HALFPIPE_CHECK(first_block == config.num_layers, "the stages do not hold every block");
  return map;
}

}  // namespace halfpipe::model
