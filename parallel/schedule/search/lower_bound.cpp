// SPDX-License-Identifier: Apache-2.0
#include "parallel/schedule/search/lower_bound.h"

#include <algorithm>
#include <cstddef>

#include "parallel/schedule/schedule_error.h"
#include "parallel/schedule/search/bound_direction.h"
#include "parallel/schedule/search/bound_heads.h"
#include "parallel/schedule/search/bound_idle.h"

namespace halfpipe::schedule {
namespace {

void check(const SearchProblem& problem) {
  const auto num_ranks = static_cast<std::size_t>(problem.placement.num_pipeline_ranks());
  if (problem.costs.stages.size() != static_cast<std::size_t>(problem.placement.num_stages()) ||
      problem.memory_limit.size() != num_ranks) {
    throw ScheduleError(
        "a lower bound needs costs of every stage and a memory limit of every rank");
  }
  const std::vector<std::int64_t> smallest =
      smallest_memory_limit(problem.placement, problem.costs);
  for (std::size_t rank = 0; rank < num_ranks; ++rank) {
    if (problem.memory_limit[rank] >= smallest[rank]) continue;
    throw ScheduleError("no schedule fits: the memory limit of rank " + std::to_string(rank) +
                        " (" + std::to_string(problem.memory_limit[rank]) +
                        " bytes) is below the smallest that lets a micro-batch pass (" +
                        std::to_string(smallest[rank]) + " bytes)");
  }
}

void raise(LowerBound& bound, double seconds, const std::string& reason) {
  if (seconds <= bound.seconds) return;
  bound = {seconds, reason};
}

/// A micro-batch on its way through a pass: what comes before, the pass, what follows.
void raise_by_paths(LowerBound& bound,
                    const Direction& forwards,
                    const Heads& heads,
                    const Heads& tails) {
  const int m = forwards.num_micro_batches();
  for (int s = 0; s < forwards.num_stages(); ++s) {
    for (int phase = 0; phase < 3; ++phase) {
      const std::vector<double>& head = heads.of({phase, s});
      const std::vector<double>& tail = tails.of({2 - phase, s});
      const double length = forwards.stage(s).seconds[static_cast<std::size_t>(phase)];
      for (std::size_t k = 0; k < head.size(); ++k) {
        const std::size_t behind = static_cast<std::size_t>(m) - 1 - k;
        if (behind >= tail.size()) continue;
        raise(
            bound, head[k] + length + tail[behind],
            "the way of micro-batch " + std::to_string(k) + " through stage " + std::to_string(s));
      }
    }
  }
}

}  // namespace

LowerBound lower_bound(const SearchProblem& problem) {
  check(problem);
  const Direction forwards(problem, false);
  const Direction backwards(problem, true);
  const int m = problem.num_micro_batches;
  const Heads heads = earliest_starts(forwards, m);
  const Heads tails = earliest_starts(backwards, m);
  const std::vector<double> starts = first_starts(problem);

  LowerBound bound{0.0, "there is nothing to do"};
  double work = 0.0;
  for (int rank = 0; rank < problem.placement.num_pipeline_ranks(); ++rank) {
    const double rank_work = forwards.work(rank);
    work = std::max(work, rank_work);
    raise(bound, rank_work, "the work of rank " + std::to_string(rank));
    const double clock_start =
        problem.objective == Objective::kSpan ? starts[static_cast<std::size_t>(rank)] : 0.0;
    raise(
        bound,
        time_with_idle(forced_idle(forwards, heads, rank, clock_start),
                       forced_idle(backwards, tails, rank, backwards.rank_start(rank)), rank_work),
        "the work of rank " + std::to_string(rank) +
            " and its idle time while the pipeline fills and drains");
  }
  raise_by_paths(bound, forwards, heads, tails);
  bound.seconds = std::max(0.0, bound.seconds - 1e-9 * work);
  return bound;
}

std::vector<std::int64_t> smallest_memory_limit(const Placement& placement,
                                                const CostModel& costs) {
  const auto num_ranks = static_cast<std::size_t>(placement.num_pipeline_ranks());
  std::vector<std::int64_t> held(num_ranks, 0);
  std::vector<std::int64_t> smallest(num_ranks, 0);
  for (int stage = 0; stage < placement.num_stages(); ++stage) {
    const StageCost& cost = costs.stages[static_cast<std::size_t>(stage)];
    const auto rank = static_cast<std::size_t>(placement.rank_of(stage));
    held[rank] += cost.forward_to_backward_input_bytes + cost.forward_to_backward_weight_bytes;
    smallest[rank] =
        std::max(smallest[rank], held[rank] + cost.backward_input_to_backward_weight_bytes);
  }
  return smallest;
}

}  // namespace halfpipe::schedule
