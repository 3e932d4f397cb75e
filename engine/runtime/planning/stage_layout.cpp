// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/planning/stage_layout.h"

#include <utility>

#include "engine/model/model_cost.h"
#include "engine/runtime/planning/stage_costs.h"

namespace halfpipe::runtime {

StageLayout lay_out(const config::RunConfig& config, const schedule::Placement& placement) {
  if (config.parallel.layers_per_stage) {
    return lay_out(config, placement, *config.parallel.layers_per_stage);
  }
  return lay_out(
      config, placement,
      model::balanced_blocks_per_stage(config.model, placement, config.train.micro_batch_size));
}

StageLayout lay_out(const config::RunConfig& config,
                    const schedule::Placement& placement,
                    const std::vector<int>& blocks_per_stage) {
  std::vector<model::StageLayers> stage_map = model::make_stage_map(config.model, blocks_per_stage);
  schedule::CostModel costs = stage_costs(config, stage_map);
  return {placement, std::move(stage_map), std::move(costs)};
}

std::vector<int> blocks_per_stage_of(const StageLayout& layout) {
  std::vector<int> blocks;
  for (const model::StageLayers& layers : layout.stage_map) blocks.push_back(layers.num_blocks);
  return blocks;
}

}  // namespace halfpipe::runtime
