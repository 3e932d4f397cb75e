// SPDX-License-Identifier: Apache-2.0
#include "tools/halfpipe/make_schedule.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <thread>
#include <utility>

#include "kernels/core/error.h"
#include "kernels/core/stopwatch.h"
#include "parallel/schedule/catalogue.h"
#include "parallel/schedule/check_timeline.h"
#include "parallel/schedule/schedule_error.h"
#include "parallel/schedule/search/improve_named.h"
#include "parallel/schedule/search/search.h"

namespace halfpipe::tools {

namespace {

using schedule::Objective;
using schedule::SearchProblem;

schedule::SearchBudget budget_of(const ScheduleOptions& options) {
  schedule::SearchBudget budget;
  budget.seconds = options.seconds;
  budget.evaluations = options.evaluations;
  budget.seed = options.seed;
  budget.num_threads = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  return budget;
}

std::optional<double> unit_bytes_of(const ScheduleCosts& costs) {
  return costs.have_bytes() ? std::optional(costs.unit_bytes()) : std::nullopt;
}

/// The bound of the span where `of_objective` is one of the makespan.
ScheduleBounds bounds_of(SearchProblem problem, schedule::LowerBound of_objective) {
  const Objective objective = problem.objective;
  if (objective == Objective::kSpan) {
    const double seconds = of_objective.seconds;
    return {objective, std::move(of_objective), seconds};
  }
  problem.objective = Objective::kSpan;
  return {objective, std::move(of_objective), schedule::lower_bound(problem).seconds};
}

MadeSchedule make_named(const ScheduleOptions& options,
                        const ScheduleCosts& costs,
                        const std::string& name) {
  const schedule::Placement placement =
      schedule::placement_for(name, options.num_ranks, options.num_chunks);
  schedule::CostModel model = costs.on(placement);
  const Stopwatch watch;
  schedule::StageOrders orders = schedule::make_orders(
      name, options.num_ranks, options.num_micro_batches, options.num_chunks, model);
  schedule::Timeline timeline = schedule::simulate(orders, model);
  std::optional<SearchReport> report;
  std::optional<ScheduleBounds> bounds;
  if (!options.exact) {
    const auto problem = schedule::improvement_of(orders, model, options.objective);
    if (problem) {
      schedule::SearchResult found = schedule::search_schedule({*problem}, budget_of(options));
      report =
          SearchReport{{}, schedule::cost_of(timeline, options.objective), found.search_seconds};
      bounds = bounds_of(*problem, {found.bound, std::move(found.reason)});
      orders.ranks = std::move(found.orders.ranks);
      timeline = schedule::simulate(orders, model);
    }
  }
  const double seconds = watch.seconds();
  if (!bounds) {
    const SearchProblem same_memory{placement, options.num_micro_batches, model,
                                    timeline.peak_activation_bytes, options.objective};
    bounds = bounds_of(same_memory, schedule::lower_bound(same_memory));
  }
  return {std::move(orders), std::move(model),  costs.have_bytes(), std::move(timeline),
          seconds,           std::move(report), std::move(bounds),  unit_bytes_of(costs)};
}

/// The linear one last. Many chunks pay where messages are nearly free; with very many passes there
/// is no time to find out.
std::vector<schedule::Placement> placements_for(int num_ranks, int num_micro_batches) {
  using schedule::Placement;
  using schedule::PlacementKind;
  constexpr std::int64_t kManyPasses = 60000;
  std::vector<Placement> placements;
  const auto passes = [&](int num_chunks) {
    return std::int64_t{schedule::kNumPasses} * num_chunks * num_ranks * num_micro_batches;
  };
  for (const int num_chunks : {2, 4, 3, kMostSearchedChunks}) {
    const bool usual = num_chunks == 2 || num_chunks == 4;
    if (num_ranks == 1 || passes(num_chunks) > (usual ? kMostPasses : kManyPasses)) continue;
    placements.emplace_back(PlacementKind::kZigzag, num_ranks, num_chunks);
  }
  // Where stages or links differ, going round the ranks may balance them better than going back.
  if (num_ranks > 1 && passes(2) <= kMostPasses) {
    placements.emplace_back(PlacementKind::kInterleaved, num_ranks, 2);
  }
  placements.emplace_back(PlacementKind::kLinear, num_ranks, 1);
  return placements;
}

/// Those that the costs fit. At least one: where they fit none, ScheduleCosts tells why.
std::vector<schedule::Placement> placements_for(const ScheduleOptions& options,
                                                const ScheduleCosts& costs) {
  std::vector<schedule::Placement> placements =
      placements_for(options.num_ranks, options.num_micro_batches);
  const schedule::Placement fewest_stages = placements.back();
  std::erase_if(placements,
                [&](const schedule::Placement& placement) { return !costs.fit(placement); });
  if (placements.empty()) placements.push_back(fewest_stages);
  return placements;
}

/// [rank], bytes.
std::vector<std::int64_t> limit_bytes(const ScheduleOptions& options,
                                      const std::vector<double>& units,
                                      double unit_bytes) {
  constexpr double kRounding = 1e-9;  // of limits that were rounded for printing
  // All micro-batches on the whole model are this many units. More is as good as that, and might
  // not fit into 64 bits; ScheduleCosts sees to it that this does.
  const double enough = static_cast<double>(options.num_micro_batches) * options.num_ranks;
  std::vector<std::int64_t> bytes;
  for (int rank = 0; rank < options.num_ranks; ++rank) {
    const double limit = units[units.size() == 1 ? 0 : static_cast<std::size_t>(rank)];
    bytes.push_back(
        static_cast<std::int64_t>(std::floor((std::min(limit, enough) + kRounding) * unit_bytes)));
  }
  return bytes;
}

/// "rank 2 needs 1.5 units" of every rank whose limit is too small for any schedule of the problem.
std::vector<std::string> needs_of(const SearchProblem& problem, double unit_bytes) {
  const std::vector<std::int64_t> smallest =
      schedule::smallest_memory_limit(problem.placement, problem.costs);
  std::vector<std::string> needs;
  for (std::size_t rank = 0; rank < smallest.size(); ++rank) {
    if (smallest[rank] <= problem.memory_limit[rank]) continue;
    needs.push_back(fmt::format("rank {} needs {} unit(s)", rank,
                                static_cast<double>(smallest[rank]) / unit_bytes));
  }
  return needs;
}

/// Where nothing fits, says so in units; of limits that differ, for the placement on which the
/// fewest ranks lack memory.
schedule::SearchResult search(const std::vector<SearchProblem>& choices,
                              const schedule::SearchBudget& budget,
                              const std::vector<double>& units,
                              double unit_bytes) {
  try {
    return schedule::search_schedule(choices, budget);
  } catch (const schedule::MemoryLimitError& error) {
    const std::string what =
        fmt::format("--memory-limit ({}): no schedule fits; ", fmt::join(units, ","));
    if (units.size() == 1) {
      const double smallest = static_cast<double>(error.smallest_limit()) / unit_bytes;
      throw schedule::ScheduleError(
          fmt::format("{}the smallest limit that has one is {} unit(s) per rank", what, smallest));
    }
    std::vector<std::string> fewest;
    for (const SearchProblem& problem : choices) {
      std::vector<std::string> needs = needs_of(problem, unit_bytes);
      if (fewest.empty() || needs.size() < fewest.size()) fewest = std::move(needs);
    }
    throw schedule::ScheduleError(fmt::format("{}{}", what, fmt::join(fewest, ", ")));
  }
}

/// No span on any of the placements is shorter.
double span_bound_of(std::vector<SearchProblem> choices) {
  double least = std::numeric_limits<double>::infinity();
  for (SearchProblem& problem : choices) {
    if (!needs_of(problem, 1.0).empty()) continue;
    problem.objective = Objective::kSpan;
    least = std::min(least, schedule::lower_bound(problem).seconds);
  }
  return least;
}

MadeSchedule make_auto(const ScheduleOptions& options, const ScheduleCosts& costs) {
  std::vector<double> units = options.memory_limit;
  if (units.empty()) units.push_back(options.num_ranks);
  const double unit_bytes = costs.unit_bytes();
  std::vector<SearchProblem> choices;
  for (const schedule::Placement& placement : placements_for(options, costs)) {
    choices.push_back({placement, options.num_micro_batches, costs.on(placement),
                       limit_bytes(options, units, unit_bytes), options.objective});
  }
  schedule::SearchResult found = search(choices, budget_of(options), units, unit_bytes);
  const double span_bound =
      options.objective == Objective::kSpan ? found.bound : span_bound_of(choices);
  schedule::CostModel model = std::move(choices[found.choice].costs);
  schedule::Timeline timeline = schedule::simulate(found.orders, model);
  return {std::move(found.orders),
          std::move(model),
          costs.have_bytes(),
          std::move(timeline),
          found.search_seconds,
          SearchReport{std::move(units), std::nullopt, found.search_seconds},
          ScheduleBounds{options.objective, {found.bound, std::move(found.reason)}, span_bound},
          unit_bytes_of(costs)};
}

}  // namespace

std::vector<double> peak_units(const MadeSchedule& made) {
  if (!made.unit_bytes) return made.timeline.peak_units;
  std::vector<double> units;
  for (const std::int64_t bytes : made.timeline.peak_activation_bytes) {
    units.push_back(static_cast<double>(bytes) / *made.unit_bytes);
  }
  return units;
}

MadeSchedule make_schedule(const ScheduleOptions& options,
                           const ScheduleCosts& costs,
                           const std::string& name) {
  MadeSchedule made = name == "auto" ? make_auto(options, costs) : make_named(options, costs, name);
  const auto violation = schedule::first_violation(made.timeline, made.orders.placement,
                                                   made.orders.num_micro_batches, made.costs);
  HALFPIPE_CHECK(!violation, *violation);
  return made;
}

}  // namespace halfpipe::tools
