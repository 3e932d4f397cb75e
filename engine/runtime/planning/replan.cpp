// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/planning/replan.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

#include "engine/runtime/planning/arena_fit.h"
#include "engine/runtime/planning/search_question.h"
#include "engine/runtime/ranks/agreement.h"
#include "kernels/core/pinning.h"
#include "kernels/core/stopwatch.h"
#include "parallel/schedule/build_plan.h"
#include "parallel/schedule/search/search.h"

namespace halfpipe::runtime {

namespace {

// Measured medians move by more than this from one run to the next.
constexpr double kLeastGain = 0.005;

/// Activation bytes by rank: what the first search was allowed, or what the present orders keep.
std::vector<std::int64_t> limits_of(const Job& job, const schedule::Timeline& present) {
  return job.search ? job.search->memory_limit : present.peak_activation_bytes;
}

/// A rank may take what it has taken already, whatever gaps that has.
std::vector<std::int64_t> arena_limits_of(const Job& job, std::vector<std::int64_t> limits) {
  for (std::size_t rank = 0; rank < limits.size(); ++rank) {
    limits[rank] = std::max(limits[rank], job.training.ranks[rank].arena_bytes);
  }
  return limits;
}

/// Nothing where no better orders are found whose arenas fit.
std::optional<schedule::Plan> search_better(const Job& job, const schedule::CostModel& costs) {
  const schedule::StageOrders present = orders_of(job.training);
  schedule::SearchProblem problem{job.placement,
                                  job.training.num_micro_batches,
                                  in_arena_bytes(costs),
                                  {},
                                  objective_of(job.config)};
  const schedule::Timeline timeline = schedule::simulate(present, problem.costs);
  problem.memory_limit = limits_of(job, timeline);
  const double enough = (1.0 - kLeastGain) * schedule::cost_of(timeline, problem.objective);
  const std::vector<std::int64_t> arenas = arena_limits_of(job, problem.memory_limit);
  const std::vector<std::int64_t> no_residents(arenas.size(), 0);
  const schedule::SearchBudget budget = search_budget_of(job.config.schedule);
  for (const schedule::SearchBudget& part : {budget_of_first(budget), budget_of_repeat(budget)}) {
    std::optional<schedule::SearchResult> found;
    try {
      const UnpinnedScope spread_out;  // the search has threads of its own
      found = schedule::search_schedule({problem}, part);
    } catch (const schedule::MemoryLimitError&) {
      return std::nullopt;  // of a limit that was narrowed for an arena
    }
    if (found->cost > enough) return std::nullopt;
    found->orders.name = job.training.schedule_name;
    schedule::Plan plan = schedule::build_plan(found->orders, costs);
    const std::vector<std::int64_t> excess = excess_of(plan, arenas);
    if (excess.empty()) return plan;
    narrow(plan, excess, no_residents, problem.memory_limit);
  }
  return std::nullopt;
}

}  // namespace

ReplanResult replan(const Job& job,
                    const schedule::CostModel& costs,
                    transport::Transport& transport) {
  ReplanResult result;
  result.before = schedule::simulate(orders_of(job.training), costs);
  std::vector<std::byte> bytes;  // none: the present orders stay
  double seconds = 0.0;
  agree(transport, [&] {
    if (transport.rank() != 0) return;
    const Stopwatch watch;
    const std::optional<schedule::Plan> plan = search_better(job, costs);
    seconds = watch.seconds();
    if (plan) bytes = schedule::serialize(*plan);
  });
  transport.broadcast(bytes, 0);
  transport.all_reduce_sum({&seconds, 1});
  result.search_seconds = seconds;
  if (bytes.empty()) return result;
  result.plan = schedule::deserialize(bytes);
  result.expected = schedule::simulate(orders_of(*result.plan), costs);
  return result;
}

}  // namespace halfpipe::runtime
