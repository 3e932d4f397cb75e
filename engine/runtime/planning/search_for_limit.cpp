// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/planning/search_for_limit.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

#include "engine/runtime/planning/arena_fit.h"
#include "engine/runtime/planning/search_question.h"
#include "kernels/core/stopwatch.h"
#include "parallel/schedule/build_plan.h"
#include "parallel/schedule/catalogue.h"
#include "parallel/schedule/schedule_error.h"
#include "parallel/schedule/search/joint_search.h"
#include "parallel/schedule/search/lower_bound.h"
#include "parallel/schedule/search/one_at_a_time.h"
#include "parallel/schedule/search/partition_layers.h"
#include "parallel/schedule/search/search.h"
#include "parallel/schedule/search/split_tasks.h"
#include "parallel/schedule/simulate.h"

namespace halfpipe::runtime {

namespace {

/// Layers per stage and orders whose arenas fit.
struct Candidate {
  schedule::Split split;
  schedule::StageOrders orders;
  double cost;  // of the objective
};

void keep_if_best(const schedule::JointProblem& problem,
                  const schedule::Split& split,
                  schedule::StageOrders orders,
                  std::optional<Candidate>& best) {
  const schedule::SearchProblem whole = schedule::problem_of(problem, split);
  const schedule::Plan plan = schedule::build_plan(orders, whole.costs);
  if (!excess_of(plan, whole.memory_limit).empty()) return;
  const double cost = schedule::cost_of(schedule::simulate(orders, whole.costs), whole.objective);
  if (!best || cost < best->cost) best = Candidate{split, std::move(orders), cost};
}

/// Every named schedule on balanced stages, unless its busiest rank's work alone is too long or its
/// stages are those of `searched`, where a search began with it.
void offer_named(const config::RunConfig& config,
                 const schedule::JointProblem& problem,
                 const std::optional<schedule::Split>& searched,
                 std::optional<Candidate>& best) {
  const int m = problem.num_micro_batches;
  for (const schedule::Placement& placement : problem.placements) {
    const int p = placement.num_pipeline_ranks();
    const int num_chunks = placement.num_chunks();
    const StageLayout layout = lay_out(config, placement);
    const schedule::Split split{placement, blocks_per_stage_of(layout)};
    if (split == searched) continue;
    const double work =
        m * schedule::heaviest_rank(placement, schedule::partition_task_of(problem, placement),
                                    split.blocks_per_stage);
    if (best && work >= best->cost) continue;
    for (const std::string_view name : schedule::schedule_names()) {
      if (schedule::placement_for(name, p, num_chunks) != placement) continue;
      keep_if_best(problem, split, schedule::make_orders(name, p, m, num_chunks, layout.costs),
                   best);
    }
  }
}

/// Bytes of each rank's limit that are not for activations.
std::vector<std::int64_t> residents_of(const schedule::JointProblem& problem,
                                       const schedule::SearchProblem& whole) {
  std::vector<std::int64_t> residents;
  for (std::size_t rank = 0; rank < whole.memory_limit.size(); ++rank) {
    residents.push_back(problem.memory_limit[rank] - whole.memory_limit[rank]);
  }
  return residents;
}

/// Searches until the arenas fit. The result competes with the named schedules that the search did
/// not begin with and, where the search took smaller limits than the configuration allows, with all
/// of them and with one micro-batch after the other, whose arenas have no gaps.
Candidate find_fitting(const config::RunConfig& config, const schedule::JointProblem& problem) {
  const schedule::SearchBudget budget = search_budget_of(config.schedule);
  schedule::JointProblem narrowed = problem;
  std::optional<schedule::Split> too_large;
  std::optional<Candidate> best;
  for (;;) {
    std::optional<schedule::JointResult> found;
    try {
      found = schedule::search_jointly(
          narrowed, too_large ? budget_of_repeat(budget) : budget_of_first(budget));
    } catch (const schedule::MemoryLimitError&) {
      if (!too_large) throw;
      break;
    }
    const schedule::SearchProblem whole = schedule::problem_of(problem, found->split);
    const schedule::Plan plan = schedule::build_plan(found->orders, whole.costs);
    const std::vector<std::int64_t> excess = excess_of(plan, whole.memory_limit);
    if (excess.empty()) {
      best = Candidate{found->split, std::move(found->orders), found->cost};
      break;
    }
    too_large = found->split;
    narrow(plan, excess, residents_of(problem, whole), narrowed.memory_limit);
  }
  if (too_large) {
    const int m = problem.num_micro_batches;
    keep_if_best(problem, *too_large, schedule::one_at_a_time_orders(too_large->placement, m),
                 best);
    offer_named(config, problem, std::nullopt, best);
  } else {
    offer_named(config, problem, best->split, best);
  }
  if (!best) throw schedule::MemoryLimitError(schedule::smallest_limit_of_any_split(problem));
  return std::move(*best);
}

std::string in_mebibytes(std::int64_t bytes) {
  constexpr double kMebibyte = 1024.0 * 1024.0;
  return fmt::format("{:.3f} MiB ({} B)", static_cast<double>(bytes) / kMebibyte, bytes);
}

std::string too_little(const config::RunConfig& config, const schedule::JointProblem& problem) {
  const std::string smallest = in_mebibytes(schedule::smallest_limit_of_any_split(problem));
  if (limit_counts_residents(config)) {
    const auto [least, most] = std::ranges::minmax(problem.memory_limit);
    return fmt::format(
        "schedule.memory_limit (null: {}{} per rank, its share of {}) is too little for any "
        "schedule: it covers parameters, gradients, optimizer states and the batch besides "
        "activations, and the smallest limit that has one is {} of all these per rank",
        in_mebibytes(least), least == most ? "" : " to " + in_mebibytes(most),
        config.device.free_bytes.empty() ? "this machine's memory"
                                         : "what its GPU has free beside scratch",
        smallest);
  }
  const config::ScheduleConfig& given = config.schedule;
  return fmt::format(
      "schedule.memory_limit ({}) is too little for any schedule; the smallest limit that has one "
      "is {} of activations per rank",
      given.rank_memory_limits.empty()
          ? given.memory_limit
          : fmt::format("[{}]", fmt::join(given.rank_memory_limits, ", ")),
      smallest);
}

}  // namespace

ChosenSchedule search_for_limit(const config::RunConfig& config) {
  const Stopwatch watch;
  const schedule::JointProblem problem = joint_problem_of(config);
  std::optional<Candidate> found;
  try {
    found = find_fitting(config, problem);
  } catch (const schedule::MemoryLimitError&) {
    throw schedule::ScheduleError(too_little(config, problem));
  }
  StageLayout layout = lay_out(config, found->split.placement, found->split.blocks_per_stage);
  // The stages as they are: their layers may add up to a little less.
  schedule::SearchProblem whole = schedule::problem_of(problem, found->split);
  whole.costs = in_arena_bytes(layout.costs);
  const double cost =
      schedule::cost_of(schedule::simulate(found->orders, whole.costs), whole.objective);
  const schedule::LowerBound any = schedule::bound_of_any_split(problem);
  schedule::LowerBound stages = schedule::lower_bound(whole);
  if (any.seconds > stages.seconds) stages = any;  // what holds for all stages holds for these
  ScheduleSearch search{std::move(whole.memory_limit),
                        cost,
                        any.seconds,
                        any.reason,
                        stages.seconds,
                        stages.reason,
                        watch.seconds(),
                        std::nullopt};
  found->orders.name = "auto";
  return {std::move(layout), std::move(found->orders), std::move(search)};
}

}  // namespace halfpipe::runtime
