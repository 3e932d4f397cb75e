// SPDX-License-Identifier: Apache-2.0
// What the stages of a job cost, as its device has it.
#pragma once

#include <vector>

#include "engine/config/run_config.h"
#include "engine/model/stage_map.h"
#include "parallel/schedule/cost_model.h"

namespace halfpipe::runtime {

/// Whether the costs of a job are seconds; otherwise their unit is the forward pass of a block.
[[nodiscard]] bool costs_are_seconds(const config::RunConfig& config);

/// Bytes are those of the saved tensors' layouts. Times: on modelled devices those that the passes
/// take there, with the links between ranks; elsewhere estimate_costs(), with free messages.
/// config.model.vocab_size is resolved.
[[nodiscard]] schedule::CostModel stage_costs(const config::RunConfig& config,
                                              const std::vector<model::StageLayers>& stage_map);

}  // namespace halfpipe::runtime
