// SPDX-License-Identifier: Apache-2.0
// The model cut into stages for a placement.
#pragma once

#include <vector>

#include "engine/config/run_config.h"
#include "engine/model/stage_map.h"
#include "parallel/schedule/cost_model.h"
#include "parallel/schedule/placement.h"

namespace halfpipe::runtime {

/// Which layers are on which stage, and what the stages cost (stage_costs.h).
struct StageLayout {
  schedule::Placement placement;
  std::vector<model::StageLayers> stage_map;  // [num_stages]
  schedule::CostModel costs;
};

/// parallel.layers_per_stage, or blocks balanced by cost. config.model.vocab_size is resolved.
[[nodiscard]] StageLayout lay_out(const config::RunConfig& config,
                                  const schedule::Placement& placement);

/// The same with the blocks of each stage given.
[[nodiscard]] StageLayout lay_out(const config::RunConfig& config,
                                  const schedule::Placement& placement,
                                  const std::vector<int>& blocks_per_stage);

/// Blocks of each stage, first to last.
[[nodiscard]] std::vector<int> blocks_per_stage_of(const StageLayout& layout);

}  // namespace halfpipe::runtime
