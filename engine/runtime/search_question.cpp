// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/search_question.h"

#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <thread>
#include <vector>

#include "engine/config/memory_limit.h"
#include "engine/model/model_cost.h"
#include "engine/model/parameter.h"
#include "engine/model/stage.h"
#include "engine/runtime/stage_layout.h"
#include "parallel/schedule/assign_saved.h"
#include "parallel/schedule/catalogue.h"
#include "parallel/schedule/simulate.h"

namespace halfpipe::runtime {

namespace {

std::vector<schedule::Placement> placements_for(const config::RunConfig& config) {
  using schedule::Placement;
  using schedule::PlacementKind;
  const int p = config.parallel.pipeline;
  if (config.parallel.layers_per_stage) {
    const auto stages = static_cast<int>(config.parallel.layers_per_stage->size());
    return {Placement(PlacementKind::kZigzag, p, stages / p)};
  }
  std::vector<Placement> placements{Placement(PlacementKind::kLinear, p, 1)};
  if (p == 1) return placements;
  for (const int num_chunks : {2, 4}) {
    // Embedding and head are work, too: stages with one of them need no block.
    if (config.model.num_layers + 2 < num_chunks * p) continue;
    placements.emplace_back(PlacementKind::kZigzag, p, num_chunks);
  }
  return placements;
}

/// Activation bytes on the fullest rank of 1F1B.
std::int64_t peak_of_1f1b(const config::RunConfig& config) {
  config::RunConfig plain = config;
  plain.parallel.layers_per_stage.reset();
  const int p = config.parallel.pipeline;
  const StageLayout layout = lay_out(plain, schedule::placement_for("1f1b", p, 1));
  const schedule::StageOrders orders =
      schedule::make_orders("1f1b", p, config.num_micro_batches(), 1, layout.costs);
  const std::vector<std::int64_t> peaks =
      schedule::simulate(orders, layout.costs).peak_activation_bytes;
  return *std::max_element(peaks.begin(), peaks.end());
}

/// What each rank may take, for activations alone or, where `counts_residents`, for everything.
struct Limit {
  std::int64_t bytes;
  bool counts_residents;
};

Limit limit_for(const config::RunConfig& config) {
  const std::optional<config::MemoryLimit> limit =
      config::parse_memory_limit(config.schedule.memory_limit);
  const int p = config.parallel.pipeline;
  if (!limit) {
    // The ranks share the machine; a tenth is kept for messages, scratch and whatever else runs.
    constexpr double kShare = 0.9;
    const double machine =
        static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE));
    return {static_cast<std::int64_t>(kShare * machine / p), true};
  }
  double bytes = limit->amount;
  if (limit->measure != config::MemoryMeasure::kBytes) {
    bytes *= static_cast<double>(peak_of_1f1b(config));
    // The fullest rank of 1F1B holds as many units as there are ranks, or micro-batches.
    if (limit->measure == config::MemoryMeasure::kUnits) {
      bytes /= std::min(p, config.num_micro_batches());
    }
  }
  constexpr double kMost = 0x1p62;
  return {static_cast<std::int64_t>(std::min(bytes, kMost)), false};
}

/// Parameters with gradients and two moments each.
std::int64_t resident_bytes(const config::RunConfig& config,
                            const std::vector<model::StageLayers>& layers) {
  model::ParameterSet parameters;
  const std::vector<model::ParameterSpec> specs = model::all_parameters(config.model);
  for (const model::StageLayers& part : layers) {
    const model::Stage stage(config.model, specs, part, config.train.micro_batch_size, parameters);
  }
  const model::ParameterBytes bytes = model::parameter_bytes(parameters.all());
  return static_cast<std::int64_t>(3 * bytes.values + bytes.gradients);
}

schedule::LayeredModel layers_of(const config::RunConfig& config, bool counts_residents) {
  const int L = config.model.num_layers;
  const model::StageLayers embedding{0, 0, 0, true, false};
  const model::StageLayers block{0, 0, 1, false, false};
  const model::StageLayers head{0, L, 0, false, true};
  const auto cost_of = [&](const model::StageLayers& layers) {
    const schedule::CostModel costs = in_arena_bytes(
        model::estimate_costs(config.model, {layers}, config.train.micro_batch_size));
    return schedule::LayerCost{costs.stages.front(),
                               counts_residents ? resident_bytes(config, {layers}) : 0};
  };
  schedule::LayeredModel model;
  model.embedding = cost_of(embedding);
  model.blocks.assign(static_cast<std::size_t>(L), cost_of(block));
  model.head = cost_of(head);
  if (counts_residents) {
    model.shared_resident_bytes = model.embedding.resident_bytes + model.head.resident_bytes -
                                  resident_bytes(config, {embedding, head});
  }
  return model;
}

}  // namespace

schedule::JointProblem joint_problem_of(const config::RunConfig& config) {
  const Limit limit = limit_for(config);
  schedule::JointProblem problem;
  problem.model = layers_of(config, limit.counts_residents);
  problem.placements = placements_for(config);
  problem.num_micro_batches = config.num_micro_batches();
  problem.memory_limit.assign(static_cast<std::size_t>(config.parallel.pipeline), limit.bytes);
  problem.objective = objective_of(config);
  problem.blocks_per_stage = config.parallel.layers_per_stage;
  return problem;
}

schedule::JointProblem activation_problem_of(const config::RunConfig& config) {
  schedule::JointProblem problem = joint_problem_of(config);
  problem.model = layers_of(config, false);
  return problem;
}

schedule::Objective objective_of(const config::RunConfig& config) {
  return config.schedule.objective == "span" ? schedule::Objective::kSpan
                                             : schedule::Objective::kMakespan;
}

schedule::CostModel in_arena_bytes(schedule::CostModel costs) {
  for (schedule::StageCost& stage : costs.stages) {
    for (std::int64_t* bytes :
         {&stage.forward_to_backward_input_bytes, &stage.forward_to_backward_weight_bytes,
          &stage.backward_input_to_backward_weight_bytes}) {
      *bytes = schedule::arena_bytes_of(*bytes);
    }
  }
  return costs;
}

schedule::SearchBudget search_budget_of(const config::ScheduleConfig& config) {
  schedule::SearchBudget budget;
  budget.seconds = config.search_seconds;
  budget.evaluations = config.search_evaluations;
  budget.num_threads = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  return budget;
}

}  // namespace halfpipe::runtime
