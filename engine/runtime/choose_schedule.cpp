// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/choose_schedule.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <thread>
#include <utility>

#include "engine/config/memory_limit.h"
#include "engine/model/model_cost.h"
#include "engine/model/parameter.h"
#include "engine/runtime/rank_model.h"
#include "parallel/schedule/assign_saved.h"
#include "parallel/schedule/build_plan.h"
#include "parallel/schedule/catalogue.h"
#include "parallel/schedule/schedule_error.h"
#include "parallel/schedule/search/search.h"
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

/// What the machine has left for each rank's activations, if its ranks share its memory: a tenth is
/// kept for messages, scratch and whatever else runs.
std::vector<std::int64_t> what_is_left(const config::RunConfig& config, const StageLayout& layout) {
  constexpr double kShare = 0.9;
  const double machine =
      static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE));
  const int p = config.parallel.pipeline;
  const schedule::Plan no_plan{"", layout.placement, config.num_micro_batches(), false, 0, {}, {}};
  const Job job{config, layout.placement, layout.stage_map, layout.costs, no_plan, no_plan, {}};
  std::vector<std::int64_t> left;
  for (int rank = 0; rank < p; ++rank) {
    const RankModel model(job, rank);
    const model::ParameterBytes bytes = model::parameter_bytes(model.parameters().all());
    const double taken = 3.0 * static_cast<double>(bytes.values) +  // and two moments
                         static_cast<double>(bytes.gradients);
    left.push_back(static_cast<std::int64_t>(std::max(0.0, kShare * machine / p - taken)));
  }
  return left;
}

std::vector<std::int64_t> limit_for(const config::RunConfig& config, const StageLayout& layout) {
  const std::optional<config::MemoryLimit> limit =
      config::parse_memory_limit(config.schedule.memory_limit);
  if (!limit) return what_is_left(config, layout);
  const int p = config.parallel.pipeline;
  double bytes = limit->amount;
  if (limit->measure != config::MemoryMeasure::kBytes) {
    bytes *= static_cast<double>(peak_of_1f1b(config));
    // The fullest rank of 1F1B holds as many units as there are ranks, or micro-batches.
    if (limit->measure == config::MemoryMeasure::kUnits) {
      bytes /= std::min(p, config.num_micro_batches());
    }
  }
  constexpr double kMost = 0x1p62;
  return std::vector<std::int64_t>(static_cast<std::size_t>(p),
                                   static_cast<std::int64_t>(std::min(bytes, kMost)));
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

schedule::SearchResult search(const config::RunConfig& config,
                              const std::vector<schedule::SearchProblem>& choices) {
  try {
    return schedule::search_schedule(choices, budget_of(config.schedule));
  } catch (const schedule::MemoryLimitError& error) {
    constexpr double kMebibyte = 1024.0 * 1024.0;
    const std::string& given = config.schedule.memory_limit;
    throw schedule::ScheduleError(fmt::format(
        "schedule.memory_limit ({}) is too little for any schedule; the smallest limit that has "
        "one is {:.3f} MiB ({} B) of activations per rank",
        given.empty() ? "null: what the machine has left" : given,
        static_cast<double>(error.smallest_limit()) / kMebibyte, error.smallest_limit()));
  }
}

/// An arena may have gaps, so that it is larger than the peak that the search kept below the limit.
/// True when one is too large; the limits are then smaller by as much.
bool tighten(const schedule::SearchProblem& problem,
             const schedule::StageOrders& orders,
             const std::vector<std::int64_t>& arena_limit,
             std::vector<std::int64_t>& limit) {
  const schedule::Plan plan = schedule::build_plan(orders, problem.costs);
  bool too_large = false;
  for (std::size_t rank = 0; rank < limit.size(); ++rank) {
    const std::int64_t excess = plan.ranks[rank].arena_bytes - arena_limit[rank];
    if (excess <= 0) continue;
    too_large = true;
    limit[rank] = plan.ranks[rank].peak_activation_bytes - excess;
  }
  return too_large;
}

ChosenSchedule search_schedule(const config::RunConfig& config) {
  std::vector<StageLayout> layouts;
  std::vector<schedule::SearchProblem> choices;
  for (const schedule::Placement& placement : placements_for(config)) {
    StageLayout layout = lay_out(config, placement);
    choices.push_back({placement, config.num_micro_batches(), in_arena_bytes(layout.costs),
                       limit_for(config, layout),
                       config.schedule.objective == "span" ? schedule::Objective::kSpan
                                                           : schedule::Objective::kMakespan});
    layouts.push_back(std::move(layout));
  }
  std::vector<std::vector<std::int64_t>> arena_limits;
  for (const schedule::SearchProblem& problem : choices) {
    arena_limits.push_back(problem.memory_limit);
  }
  for (;;) {
    schedule::SearchResult found = search(config, choices);
    schedule::SearchProblem& chosen = choices[found.choice];
    if (tighten(chosen, found.orders, arena_limits[found.choice], chosen.memory_limit)) continue;
    return {std::move(layouts[found.choice]), std::move(found.orders),
            ScheduleSearch{arena_limits[found.choice], found.cost, found.bound, found.reason,
                           found.search_seconds}};
  }
}

}  // namespace

StageLayout lay_out(const config::RunConfig& config, const schedule::Placement& placement) {
  const int B = config.train.micro_batch_size;
  const std::vector<int> blocks =
      config.parallel.layers_per_stage
          ? *config.parallel.layers_per_stage
          : model::balanced_blocks_per_stage(config.model, placement, B);
  std::vector<model::StageLayers> stage_map = model::make_stage_map(config.model, blocks);
  schedule::CostModel costs = model::estimate_costs(config.model, stage_map, B);
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
