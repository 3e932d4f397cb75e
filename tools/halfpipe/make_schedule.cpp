// SPDX-License-Identifier: Apache-2.0
#include "tools/halfpipe/make_schedule.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <thread>
#include <utility>

#include "kernels/core/error.h"
#include "kernels/core/stopwatch.h"
#include "parallel/schedule/catalogue.h"
#include "parallel/schedule/check_timeline.h"
#include "parallel/schedule/schedule_error.h"
#include "parallel/schedule/search/improve_named.h"
#include "parallel/schedule/search/search.h"
#include "tools/costs/stage_costs_file.h"

namespace halfpipe::tools {

namespace {

/// Bytes of one unit, one micro-batch on 1/ranks of the model: shared out evenly by any small
/// number of chunks.
constexpr std::int64_t kUnitBytes = 27720;

struct Costs {
  schedule::CostModel model;
  bool has_bytes;
  double unit_bytes;
};

Costs file_costs(const std::string& path, const schedule::Placement& placement) {
  const costs::StageCostsFile file = costs::read_stage_costs(path);
  Costs result{costs::costs_for(file, placement), file.has_bytes, kUnitBytes};
  double kept = 0.0;  // by a micro-batch on the whole model
  for (schedule::StageCost& stage : result.model.stages) {
    if (!file.has_bytes) {
      stage.forward_to_backward_weight_bytes = kUnitBytes / placement.num_chunks();
    }
    kept += static_cast<double>(stage.forward_to_backward_input_bytes +
                                stage.forward_to_backward_weight_bytes);
  }
  if (file.has_bytes) result.unit_bytes = kept / placement.num_pipeline_ranks();
  return result;
}

Costs costs_of(const ScheduleOptions& options, const schedule::Placement& placement) {
  if (!options.stage_costs.empty()) return file_costs(options.stage_costs, placement);
  schedule::CostModel costs = schedule::uniform_costs(placement.num_stages());
  for (schedule::StageCost& stage : costs.stages) {
    stage.forward_seconds = options.forward / placement.num_chunks();
    stage.backward_input_seconds = options.backward_input / placement.num_chunks();
    stage.backward_weight_seconds = options.backward_weight / placement.num_chunks();
    stage.forward_to_backward_weight_bytes = kUnitBytes / placement.num_chunks();
  }
  costs.message_seconds = options.message;
  return {std::move(costs), false, kUnitBytes};
}

schedule::SearchBudget budget_of(const ScheduleOptions& options) {
  schedule::SearchBudget budget;
  budget.seconds = options.seconds;
  budget.evaluations = options.evaluations;
  budget.seed = options.seed;
  budget.num_threads = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  return budget;
}

MadeSchedule make_named(const ScheduleOptions& options, const std::string& name) {
  const schedule::Placement placement =
      schedule::placement_for(name, options.num_ranks, options.num_chunks);
  Costs costs = costs_of(options, placement);
  const Stopwatch watch;
  schedule::StageOrders orders = schedule::make_orders(
      name, options.num_ranks, options.num_micro_batches, options.num_chunks, costs.model);
  std::optional<SearchReport> report;
  if (!options.exact) {
    const auto problem = schedule::improvement_of(orders, costs.model, options.objective);
    if (problem) {
      const schedule::Timeline textbook = schedule::simulate(orders, costs.model);
      schedule::SearchResult found = schedule::search_schedule({*problem}, budget_of(options));
      orders.ranks = std::move(found.orders.ranks);
      report = SearchReport{options.objective,   std::nullopt,
                            costs.unit_bytes,    schedule::cost_of(textbook, options.objective),
                            found.bound,         found.reason,
                            found.search_seconds};
    }
  }
  const double seconds = watch.seconds();
  schedule::Timeline timeline = schedule::simulate(orders, costs.model);
  return {std::move(orders), std::move(costs.model), costs.has_bytes, std::move(timeline),
          seconds,           std::move(report)};
}

/// The linear one last. Many chunks pay where messages are nearly free; with very many passes there
/// is no time to find out.
std::vector<schedule::Placement> placements_for(int num_ranks, int num_micro_batches) {
  using schedule::Placement;
  using schedule::PlacementKind;
  constexpr std::int64_t kManyPasses = 60000;
  std::vector<Placement> placements;
  for (const int num_chunks : {2, 4, 3, 6}) {
    const std::int64_t passes =
        std::int64_t{schedule::kNumPasses} * num_chunks * num_ranks * num_micro_batches;
    const bool usual = num_chunks == 2 || num_chunks == 4;
    if (num_ranks == 1 || (!usual && passes > kManyPasses)) continue;
    placements.emplace_back(PlacementKind::kZigzag, num_ranks, num_chunks);
  }
  placements.emplace_back(PlacementKind::kLinear, num_ranks, 1);
  return placements;
}

/// Those that a file of stage costs can be joined into, if there is one. At least one: where none
/// can, costs_of tells why.
std::vector<schedule::Placement> placements_for(const ScheduleOptions& options) {
  std::vector<schedule::Placement> placements =
      placements_for(options.num_ranks, options.num_micro_batches);
  if (options.stage_costs.empty()) return placements;
  const std::size_t num_stages = costs::read_stage_costs(options.stage_costs).stages.size();
  const schedule::Placement fewest_stages = placements.back();
  std::erase_if(placements, [&](const schedule::Placement& placement) {
    return num_stages % static_cast<std::size_t>(placement.num_stages()) != 0;
  });
  if (placements.empty()) placements.push_back(fewest_stages);
  return placements;
}

/// Where nothing fits, says so in units.
schedule::SearchResult search(const std::vector<schedule::SearchProblem>& choices,
                              const schedule::SearchBudget& budget,
                              double units,
                              double unit_bytes) {
  try {
    return schedule::search_schedule(choices, budget);
  } catch (const schedule::MemoryLimitError& error) {
    const double smallest = static_cast<double>(error.smallest_limit()) / unit_bytes;
    throw schedule::ScheduleError(
        fmt::format("--memory-limit ({}): no schedule fits; the smallest limit that has one is {} "
                    "unit(s) per rank",
                    units, smallest));
  }
}

MadeSchedule make_auto(const ScheduleOptions& options) {
  const double units = options.memory_limit.value_or(options.num_ranks);
  constexpr double kRounding = 1e-9;  // of limits that were rounded for printing
  // More than all micro-batches on the whole model need is as good as that, twice for what B
  // leaves.
  const double enough = std::min(units, 2.0 * options.num_micro_batches * options.num_ranks);
  std::vector<schedule::SearchProblem> choices;
  bool has_bytes = false;
  double unit_bytes = kUnitBytes;
  for (const schedule::Placement& placement : placements_for(options)) {
    Costs costs = costs_of(options, placement);
    has_bytes = costs.has_bytes;
    unit_bytes = costs.unit_bytes;  // the same for all placements
    const auto limit = static_cast<std::int64_t>(std::floor((enough + kRounding) * unit_bytes));
    choices.push_back(
        {placement, options.num_micro_batches, std::move(costs.model),
         std::vector<std::int64_t>(static_cast<std::size_t>(options.num_ranks), limit),
         options.objective});
  }
  schedule::SearchResult found = search(choices, budget_of(options), units, unit_bytes);
  schedule::CostModel costs = choices[found.choice].costs;
  schedule::Timeline timeline = schedule::simulate(found.orders, costs);
  return {std::move(found.orders),
          std::move(costs),
          has_bytes,
          std::move(timeline),
          found.search_seconds,
          SearchReport{options.objective, units, unit_bytes, std::nullopt, found.bound,
                       found.reason, found.search_seconds}};
}

}  // namespace

MadeSchedule make_schedule(const ScheduleOptions& options, const std::string& name) {
  MadeSchedule made = name == "auto" ? make_auto(options) : make_named(options, name);
  const auto violation = schedule::first_violation(made.timeline, made.orders.placement,
                                                   made.orders.num_micro_batches, made.costs);
  HALFPIPE_CHECK(!violation, *violation);
  return made;
}

}  // namespace halfpipe::tools
