// SPDX-License-Identifier: Apache-2.0
// Which stages run where and in which order: the schedule that a configuration names, or the one
// that a search finds for its memory limit.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/config/run_config.h"
#include "engine/model/stage_map.h"
#include "parallel/schedule/cost_model.h"
#include "parallel/schedule/placement.h"
#include "parallel/schedule/stage_orders.h"

namespace halfpipe::runtime {

/// The model cut into stages, and what they cost by estimate.
struct StageLayout {
  schedule::Placement placement;
  std::vector<model::StageLayers> stage_map;  // [num_stages]
  schedule::CostModel costs;
};

/// parallel.layers_per_stage, or blocks balanced by cost.
[[nodiscard]] StageLayout lay_out(const config::RunConfig& config,
                                  const schedule::Placement& placement);

/// The same with the blocks of each stage given.
[[nodiscard]] StageLayout lay_out(const config::RunConfig& config,
                                  const schedule::Placement& placement,
                                  const std::vector<int>& blocks_per_stage);

/// What a search says of itself. Seconds are those of the cost model, but for search_seconds.
struct ScheduleSearch {
  std::vector<std::int64_t> memory_limit;  // [rank], bytes of activations
  double cost;                             // of the objective
  double lower_bound;                      // whatever the stages, no schedule is better
  std::string reason;                      // of the bound
  double stages_bound;                     // no orders of these stages within the limits are better
  std::string stages_reason;
  double search_seconds;
};

struct ChosenSchedule {
  StageLayout layout;
  schedule::StageOrders orders;
  std::optional<ScheduleSearch> search;  // for schedule.name auto
};

/// config.model.vocab_size is resolved. schedule.name auto considers a V, a zigzag of four chunks
/// and one stage per rank, as far as there are layers for them, and chooses the blocks of each
/// stage along with placement and orders; with parallel.layers_per_stage, the zigzag of as many
/// chunks as it has. Throws ScheduleError, with the smallest limit that would do,
/// when nothing fits schedule.memory_limit.
[[nodiscard]] ChosenSchedule choose_schedule(const config::RunConfig& config);

}  // namespace halfpipe::runtime
