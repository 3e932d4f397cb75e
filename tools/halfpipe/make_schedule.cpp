// SPDX-License-Identifier: Apache-2.0
#include "tools/halfpipe/make_schedule.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <thread>
#include <utility>

#include "parallel/schedule/catalogue.h"
#include "parallel/schedule/schedule_error.h"
#include "parallel/schedule/search/search.h"

namespace halfpipe::tools {

namespace {

/// Bytes of one unit, one micro-batch on 1/ranks of the model: shared out evenly by any small
/// number of chunks.
constexpr std::int64_t kUnitBytes = 27720;

schedule::CostModel costs_of(const ScheduleOptions& options, const schedule::Placement& placement) {
  schedule::CostModel costs = schedule::uniform_costs(placement.num_stages());
  for (schedule::StageCost& stage : costs.stages) {
    stage.forward_seconds = options.forward / placement.num_chunks();
    stage.backward_input_seconds = options.backward_input / placement.num_chunks();
    stage.backward_weight_seconds = options.backward_weight / placement.num_chunks();
    stage.forward_to_backward_weight_bytes = kUnitBytes / placement.num_chunks();
  }
  costs.message_seconds = options.message;
  return costs;
}

MadeSchedule make_named(const ScheduleOptions& options, const std::string& name) {
  const schedule::Placement placement =
      schedule::placement_for(name, options.num_ranks, options.num_chunks);
  schedule::CostModel costs = costs_of(options, placement);
  const auto start = std::chrono::steady_clock::now();
  schedule::StageOrders orders = schedule::make_orders(
      name, options.num_ranks, options.num_micro_batches, options.num_chunks, costs);
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  schedule::Timeline timeline = schedule::simulate(orders, costs);
  return {std::move(orders), std::move(costs), std::move(timeline), elapsed.count(), {}};
}

std::vector<schedule::Placement> placements_for(int num_ranks) {
  using schedule::Placement;
  using schedule::PlacementKind;
  if (num_ranks == 1) return {Placement(PlacementKind::kLinear, 1, 1)};
  return {Placement(PlacementKind::kV, num_ranks, 2),
          Placement(PlacementKind::kZigzag, num_ranks, 4),
          Placement(PlacementKind::kLinear, num_ranks, 1)};
}

/// Where nothing fits, says so in units.
schedule::SearchResult search(const std::vector<schedule::SearchProblem>& choices,
                              const schedule::SearchBudget& budget,
                              double units) {
  try {
    return schedule::search_schedule(choices, budget);
  } catch (const schedule::MemoryLimitError& error) {
    const double smallest = static_cast<double>(error.smallest_limit()) / kUnitBytes;
    throw schedule::ScheduleError(
        fmt::format("--memory-limit ({}): no schedule fits; the smallest limit that has one is {} "
                    "unit(s) per rank",
                    units, smallest));
  }
}

MadeSchedule make_auto(const ScheduleOptions& options) {
  const double units = options.memory_limit.value_or(options.num_ranks);
  constexpr double kRounding = 1e-9;  // of limits that were rounded for printing
  // More than all micro-batches need is as good as that.
  const double enough = std::min(units, 2.0 * options.num_micro_batches);
  const auto limit = static_cast<std::int64_t>(std::floor((enough + kRounding) * kUnitBytes));
  std::vector<schedule::SearchProblem> choices;
  for (const schedule::Placement& placement : placements_for(options.num_ranks)) {
    choices.push_back(
        {placement, options.num_micro_batches, costs_of(options, placement),
         std::vector<std::int64_t>(static_cast<std::size_t>(options.num_ranks), limit),
         options.objective});
  }
  schedule::SearchBudget budget;
  budget.seconds = options.seconds;
  budget.evaluations = options.evaluations;
  budget.seed = options.seed;
  budget.num_threads = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  schedule::SearchResult found = search(choices, budget, units);
  schedule::CostModel costs = choices[found.choice].costs;
  schedule::Timeline timeline = schedule::simulate(found.orders, costs);
  return {std::move(found.orders), std::move(costs), std::move(timeline), found.search_seconds,
          SearchReport{options.objective, units, found.bound, found.reason, found.search_seconds}};
}

}  // namespace

MadeSchedule make_schedule(const ScheduleOptions& options, const std::string& name) {
  return name == "auto" ? make_auto(options) : make_named(options, name);
}

}  // namespace halfpipe::tools
