// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/planning/choose_schedule.h"

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "engine/runtime/planning/arena_fit.h"
#include "engine/runtime/planning/search_for_limit.h"
#include "engine/runtime/planning/search_question.h"
#include "kernels/core/stopwatch.h"
#include "parallel/schedule/build_plan.h"
#include "parallel/schedule/catalogue.h"
#include "parallel/schedule/search/improve_named.h"
#include "parallel/schedule/search/lower_bound.h"
#include "parallel/schedule/search/search.h"
#include "parallel/schedule/simulate.h"

namespace halfpipe::runtime {

namespace {

/// Nothing where no schedule fits.
std::optional<schedule::SearchResult> search_if_possible(const schedule::SearchProblem& problem,
                                                         const schedule::SearchBudget& budget) {
  try {
    return schedule::search_schedule({problem}, budget);
  } catch (const schedule::MemoryLimitError&) {
    return std::nullopt;
  }
}

/// The named orders, or better ones that need no more memory for the tensors or for their arenas.
ChosenSchedule improve(const config::RunConfig& config,
                       StageLayout layout,
                       schedule::StageOrders orders) {
  const Stopwatch watch;
  std::optional<schedule::SearchProblem> problem =
      schedule::improvement_of(orders, in_arena_bytes(layout.costs), objective_of(config));
  if (!problem) return {std::move(layout), std::move(orders), {}};
  std::vector<std::int64_t> arenas;
  for (const schedule::RankPlan& rank : schedule::build_plan(orders, problem->costs).ranks) {
    arenas.push_back(rank.arena_bytes);
  }
  const double textbook_cost =
      schedule::cost_of(schedule::simulate(orders, problem->costs), problem->objective);
  const std::vector<std::int64_t> limit = problem->memory_limit;
  const schedule::LowerBound bound = schedule::lower_bound(*problem);
  const std::vector<std::int64_t> no_residents(limit.size(), 0);
  double cost = textbook_cost;
  const schedule::SearchBudget budget = search_budget_of(config.schedule);
  for (const schedule::SearchBudget& part : {budget_of_first(budget), budget_of_repeat(budget)}) {
    const std::optional<schedule::SearchResult> found = search_if_possible(*problem, part);
    if (!found || found->cost >= cost) break;
    const schedule::Plan plan = schedule::build_plan(found->orders, problem->costs);
    const std::vector<std::int64_t> excess = excess_of(plan, arenas);
    if (excess.empty()) {
      orders.ranks = found->orders.ranks;
      cost = found->cost;
      break;
    }
    narrow(plan, excess, no_residents, problem->memory_limit);
  }
  return {std::move(layout), std::move(orders),
          ScheduleSearch{limit, cost, bound.seconds, bound.reason, bound.seconds, bound.reason,
                         watch.seconds(), textbook_cost}};
}

}  // namespace

ChosenSchedule choose_schedule(const config::RunConfig& config) {
  const config::ScheduleConfig& wanted = config.schedule;
  if (wanted.name == "auto") return search_for_limit(config);
  const int p = config.parallel.pipeline;
  StageLayout layout = lay_out(config, schedule::placement_for(wanted.name, p, wanted.num_chunks));
  schedule::StageOrders orders = schedule::make_orders(wanted.name, p, config.num_micro_batches(),
                                                       wanted.num_chunks, layout.costs);
  if (wanted.exact) return {std::move(layout), std::move(orders), {}};
  return improve(config, std::move(layout), std::move(orders));
}

}  // namespace halfpipe::runtime
