// SPDX-License-Identifier: Apache-2.0
#include "parallel/schedule/search/layered_model.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <string>

#include "parallel/schedule/schedule_error.h"

namespace halfpipe::schedule {
namespace {

void check_layer(const LayerCost& layer, const std::string& name) {
  const auto is_cost = [](double seconds) { return std::isfinite(seconds) && seconds >= 0.0; };
  const StageCost& cost = layer.cost;
  for (const Pass pass : {Pass::kForward, Pass::kBackwardInput, Pass::kBackwardWeight}) {
    if (is_cost(cost.seconds(pass))) continue;
    throw ScheduleError("seconds of " + name + " must be finite and at least 0; one of them is " +
                        std::to_string(cost.seconds(pass)));
  }
  for (const std::int64_t bytes :
       {cost.forward_to_backward_input_bytes, cost.forward_to_backward_weight_bytes,
        cost.backward_input_to_backward_weight_bytes, layer.resident_bytes}) {
    if (bytes >= 0) continue;
    throw ScheduleError("bytes of " + name + " must be at least 0; some are " +
                        std::to_string(bytes));
  }
}

void check_given_blocks(const JointProblem& problem) {
  const std::vector<int>& given = *problem.blocks_per_stage;
  const int sum = std::accumulate(given.begin(), given.end(), 0);
  if (sum != static_cast<int>(problem.model.blocks.size()) ||
      std::any_of(given.begin(), given.end(), [](int blocks) { return blocks < 0; })) {
    throw ScheduleError("layers_per_stage must be at least 0 each and sum to the " +
                        std::to_string(problem.model.blocks.size()) + " blocks, not to " +
                        std::to_string(sum));
  }
  if (std::none_of(problem.placements.begin(), problem.placements.end(),
                   [&](const Placement& placement) {
                     return placement.num_stages() == static_cast<int>(given.size());
                   })) {
    throw ScheduleError("layers_per_stage names " + std::to_string(given.size()) +
                        " stages; no placement to choose from has as many");
  }
}

void add(const LayerCost& layer, double slowness, StageCost& stage) {
  const StageCost& cost = layer.cost;
  stage.forward_seconds += slowness * cost.forward_seconds;
  stage.backward_input_seconds += slowness * cost.backward_input_seconds;
  stage.backward_weight_seconds += slowness * cost.backward_weight_seconds;
  stage.forward_to_backward_input_bytes += cost.forward_to_backward_input_bytes;
  stage.forward_to_backward_weight_bytes += cost.forward_to_backward_weight_bytes;
  stage.backward_input_to_backward_weight_bytes += cost.backward_input_to_backward_weight_bytes;
}

}  // namespace

void check(const JointProblem& problem) {
  if (problem.placements.empty()) {
    throw ScheduleError("a search needs at least one placement to choose from");
  }
  const int num_ranks = problem.placements.front().num_pipeline_ranks();
  const auto ranks = static_cast<std::size_t>(num_ranks);
  const std::vector<double>& slowness = problem.rank_slowness;
  if (std::any_of(
          problem.placements.begin(), problem.placements.end(),
          [&](const Placement& other) { return other.num_pipeline_ranks() != num_ranks; }) ||
      problem.memory_limit.size() != ranks || (!slowness.empty() && slowness.size() != ranks)) {
    throw ScheduleError(
        "placements to choose from, memory limits and slowness must be of the same ranks; the "
        "first placement has " +
        std::to_string(num_ranks));
  }
  for (const double factor : slowness) {
    if (std::isfinite(factor) && factor > 0.0) continue;
    throw ScheduleError("slowness of a rank must be finite and above 0, not " +
                        std::to_string(factor));
  }
  check_layer(problem.model.embedding, "the embedding");
  check_layer(problem.model.head, "the head");
  for (std::size_t i = 0; i < problem.model.blocks.size(); ++i) {
    check_layer(problem.model.blocks[i], "block " + std::to_string(i));
  }
  if (problem.blocks_per_stage) check_given_blocks(problem);
}

SearchProblem problem_of(const JointProblem& problem, const Split& split) {
  const Placement& placement = split.placement;
  SearchProblem result{placement, problem.num_micro_batches, problem.messages, problem.memory_limit,
                       problem.objective};
  std::size_t block = 0;
  for (int stage = 0; stage < placement.num_stages(); ++stage) {
    const auto rank = static_cast<std::size_t>(placement.rank_of(stage));
    const double slowness = problem.rank_slowness.empty() ? 1.0 : problem.rank_slowness[rank];
    StageCost& cost = result.costs.stages.emplace_back(StageCost{0.0, 0.0, 0.0, 0, 0, 0});
    const auto host = [&](const LayerCost& layer) {
      add(layer, slowness, cost);
      result.memory_limit[rank] -= layer.resident_bytes;
    };
    if (stage == 0) host(problem.model.embedding);
    for (int i = 0; i < split.blocks_per_stage[static_cast<std::size_t>(stage)]; ++i) {
      host(problem.model.blocks[block++]);
    }
    if (stage + 1 == placement.num_stages()) host(problem.model.head);
  }
  if (placement.ends_share_rank()) {
    result.memory_limit.front() += problem.model.shared_resident_bytes;
  }
  return result;
}

}  // namespace halfpipe::schedule
