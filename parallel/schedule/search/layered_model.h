// SPDX-License-Identifier: Apache-2.0
// A model before it is cut into stages: what each layer costs, and what a cut makes of it.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "parallel/schedule/cost_model.h"
#include "parallel/schedule/placement.h"
#include "parallel/schedule/search/problem.h"

namespace halfpipe::schedule {

/// One layer for one micro-batch on a rank of ordinary speed.
struct LayerCost {
  StageCost cost{0.0, 0.0, 0.0, 0, 0, 0};
  std::int64_t resident_bytes = 0;  // held all the time: parameters, gradients, optimizer
};

struct LayeredModel {
  LayerCost embedding;            // on the first stage
  std::vector<LayerCost> blocks;  // in order, each with costs of its own
  LayerCost head;                 // on the last stage
  /// Residents that embedding and head have in common where they are on one rank (a tied table).
  std::int64_t shared_resident_bytes = 0;
};

/// Placement and number of blocks on each of its stages, in stage order; 0 is allowed.
struct Split {
  Placement placement;
  std::vector<int> blocks_per_stage;
  friend bool operator==(const Split&, const Split&) = default;
};

/// Which layers to put where, and in which order to run them.
struct JointProblem {
  LayeredModel model;
  std::vector<Placement> placements;  // to choose from; at least one, all of the same ranks
  int num_micro_batches = 1;
  CostModel messages;                      // its links and messages; it has no stages
  std::vector<double> rank_slowness;       // [rank], factor on every pass; empty: all 1
  std::vector<std::int64_t> memory_limit;  // [rank], bytes of activations and residents
  Objective objective = Objective::kSpan;
  /// Given, not searched: only placements with as many stages count.
  std::optional<std::vector<int>> blocks_per_stage = std::nullopt;
};

/// Throws ScheduleError for sizes that do not agree, costs that are negative or not finite,
/// slowness not above 0, and blocks_per_stage that do not sum to the blocks or match no placement.
void check(const JointProblem& problem);

/// Costs of a stage are the sums of its layers'; a limit is what residents leave of it (negative if
/// they do not fit). split.blocks_per_stage sums to the blocks of the model.
[[nodiscard]] SearchProblem problem_of(const JointProblem& problem, const Split& split);

}  // namespace halfpipe::schedule
