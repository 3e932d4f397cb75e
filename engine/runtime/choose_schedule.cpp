// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/choose_schedule.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <thread>
#include <utility>

#include "engine/config/memory_limit.h"
#include "engine/model/model_cost.h"
#include "engine/model/parameter.h"
#include "engine/model/stage.h"
#include "parallel/schedule/assign_saved.h"
#include "parallel/schedule/build_plan.h"
#include "parallel/schedule/catalogue.h"
#include "parallel/schedule/schedule_error.h"
#include "parallel/schedule/search/joint_search.h"
#include "parallel/schedule/search/search.h"
#include "parallel/schedule/search/split_tasks.h"
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

/// Whole arenas have to fit: what is saved takes multiples of kArenaAlignment.
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

schedule::SearchBudget budget_of(const config::ScheduleConfig& config) {
  schedule::SearchBudget budget;
  budget.seconds = config.search_seconds;
  budget.evaluations = config.search_evaluations;
  budget.num_threads = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  return budget;
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

schedule::JointProblem joint_problem(const config::RunConfig& config) {
  const Limit limit = limit_for(config);
  schedule::JointProblem problem;
  problem.model = layers_of(config, limit.counts_residents);
  problem.placements = placements_for(config);
  problem.num_micro_batches = config.num_micro_batches();
  problem.memory_limit.assign(static_cast<std::size_t>(config.parallel.pipeline), limit.bytes);
  problem.objective = config.schedule.objective == "span" ? schedule::Objective::kSpan
                                                          : schedule::Objective::kMakespan;
  problem.blocks_per_stage = config.parallel.layers_per_stage;
  return problem;
}

std::string too_little(const config::RunConfig& config) {
  constexpr double kMebibyte = 1024.0 * 1024.0;
  schedule::JointProblem activations = joint_problem(config);
  activations.model = layers_of(config, false);
  const std::int64_t smallest = schedule::smallest_limit_of_any_split(activations);
  const std::string& given = config.schedule.memory_limit;
  return fmt::format(
      "schedule.memory_limit ({}) is too little for any schedule; the smallest limit that has one "
      "is {:.3f} MiB ({} B) of activations per rank",
      given.empty() ? "null: what the machine has left" : given,
      static_cast<double>(smallest) / kMebibyte, smallest);
}

/// An arena may have gaps, so that it is larger than the peak that the search kept below the limit.
/// True when one is too large; the limits of `tightened` are then smaller by as much.
bool tighten(const schedule::SearchProblem& chosen,
             const schedule::StageOrders& orders,
             schedule::JointProblem& tightened) {
  const schedule::Plan plan = schedule::build_plan(orders, chosen.costs);
  bool too_large = false;
  for (std::size_t rank = 0; rank < plan.ranks.size(); ++rank) {
    const std::int64_t excess = plan.ranks[rank].arena_bytes - chosen.memory_limit[rank];
    if (excess <= 0) continue;
    too_large = true;
    const std::int64_t unused =
        chosen.memory_limit[rank] - plan.ranks[rank].peak_activation_bytes + excess;
    tightened.memory_limit[rank] = tightened.memory_limit[rank] - unused;
  }
  return too_large;
}

ChosenSchedule search_schedule(const config::RunConfig& config) {
  const schedule::JointProblem problem = joint_problem(config);
  schedule::JointProblem tightened = problem;
  try {
    for (;;) {
      schedule::JointResult found = schedule::search_jointly(tightened, budget_of(config.schedule));
      const schedule::SearchProblem chosen = schedule::problem_of(problem, found.split);
      if (tighten(chosen, found.orders, tightened)) continue;
      return {lay_out(config, found.split.placement, found.split.blocks_per_stage),
              std::move(found.orders),
              ScheduleSearch{chosen.memory_limit, found.cost, found.bound_of_any_split,
                             problem.blocks_per_stage
                                 ? found.reason
                                 : "the busiest rank's work alone, whatever layers it has",
                             found.bound, found.reason, found.search_seconds}};
    }
  } catch (const schedule::MemoryLimitError&) {
    throw schedule::ScheduleError(too_little(config));
  }
}

}  // namespace

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
  schedule::CostModel costs =
      model::estimate_costs(config.model, stage_map, config.train.micro_batch_size);
  return {placement, std::move(stage_map), std::move(costs)};
}

ChosenSchedule choose_schedule(const config::RunConfig& config) {
  if (config.schedule.name == "auto") return search_schedule(config);
  const int p = config.parallel.pipeline;
  StageLayout layout =
      lay_out(config, schedule::placement_for(config.schedule.name, p, config.schedule.num_chunks));
  schedule::StageOrders orders =
      schedule::make_orders(config.schedule.name, p, config.num_micro_batches(),
                            config.schedule.num_chunks, layout.costs);
  return {std::move(layout), std::move(orders), {}};
}

}  // namespace halfpipe::runtime
