// SPDX-License-Identifier: Apache-2.0
#include "parallel/schedule/search/lower_bound.h"

#include <algorithm>
#include <cstddef>

#include "parallel/schedule/link_clock.h"
#include "parallel/schedule/schedule_error.h"
#include "parallel/schedule/search/bound_direction.h"
#include "parallel/schedule/search/bound_heads.h"
#include "parallel/schedule/search/bound_idle.h"

namespace halfpipe::schedule {
namespace {

/// Of the work: more than rounding can add up to.
constexpr double kRounding = 1e-9;

void check(const SearchProblem& problem) {
  const auto num_ranks = static_cast<std::size_t>(problem.placement.num_pipeline_ranks());
  if (problem.costs.stages.size() != static_cast<std::size_t>(problem.placement.num_stages()) ||
      problem.memory_limit.size() != num_ranks) {
    throw ScheduleError(
        "a lower bound needs costs of every stage and a memory limit of every rank");
  }
  (void)LinkClock(problem.costs, problem.placement.num_pipeline_ranks());  // checks the links
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

/// Ranks whose memory and time go into the heads; all of them where that takes milliseconds. The
/// two ends of the pipeline come first: with equal costs and limits one of them gives the bound or
/// comes close (without the others the mean gap to the best known of 256 V schedules of 4 to 16
/// ranks is 0.0247 of bubble instead of 0.0244). Then the busiest rank, then ranks between.
std::vector<bool> choose_ranks(const Direction& direction, int num_ranks) {
  // Time grows with the square of the passes that a rank runs for one micro-batch; 2^16 such pairs
  // take some 15 ms.
  constexpr std::int64_t kMostPairs = 1 << 16;
  const auto passes = static_cast<std::int64_t>(3 * direction.hosted(0).size());
  const std::int64_t most =
      std::max<std::int64_t>(3, kMostPairs / (passes * passes * direction.num_micro_batches()));
  std::vector<bool> counted(static_cast<std::size_t>(num_ranks), false);
  std::int64_t num_counted = 0;
  const auto count = [&](int rank) {
    const auto index = static_cast<std::size_t>(rank);
    if (counted[index] || num_counted == most) return;
    counted[index] = true;
    ++num_counted;
  };
  count(num_ranks - 1);
  count(0);
  int busiest = 0;
  for (int rank = 1; rank < num_ranks; ++rank) {
    if (direction.work(rank) > direction.work(busiest)) busiest = rank;
  }
  count(busiest);
  for (int parts = 2; parts < 2 * num_ranks; parts *= 2) {
    for (int i = 1; i < parts; i += 2) count(i * num_ranks / parts);
  }
  return counted;
}

/// The longest way of a micro-batch through a stage of a counted rank: what comes before, the pass,
/// what follows.
double longest_way(const Direction& forwards, const Heads& heads, const Heads& tails) {
  double longest = 0.0;
  for (int s = 0; s < forwards.num_stages(); ++s) {
    for (int phase = 0; phase < 3; ++phase) {
      const std::vector<double>& head = heads.of({phase, s});
      const std::vector<double>& tail = tails.of({2 - phase, s});
      const double length = forwards.stage(s).seconds[static_cast<std::size_t>(phase)];
      for (std::size_t k = 0; k < head.size(); ++k) {
        longest = std::max(longest, head[k] + length + tail[tail.size() - 1 - k]);
      }
    }
  }
  return longest;
}

}  // namespace

LowerBound lower_bound(const SearchProblem& problem) {
  check(problem);
  const int num_ranks = problem.placement.num_pipeline_ranks();
  const Direction forwards(problem, false);
  const Direction backwards(problem, true);
  const std::vector<bool> counted = choose_ranks(forwards, num_ranks);
  const Heads heads = earliest_starts(forwards, counted);
  const Heads tails = earliest_starts(backwards, counted);
  std::vector<double> clock_start(static_cast<std::size_t>(num_ranks), 0.0);
  if (problem.objective == Objective::kSpan) clock_start = first_starts(problem);

  LowerBound bound{
      longest_way(forwards, heads, tails),
      "the way of one micro-batch through the pipeline, with the waits that memory and "
      "busy ranks force on it"};
  double most_work = 0.0;
  for (int rank = 0; rank < num_ranks; ++rank) {
    const double work = forwards.work(rank);
    double seconds = work;
    if (counted[static_cast<std::size_t>(rank)]) {
      seconds = time_with_idle(
          forced_idle(forwards, heads, rank, clock_start[static_cast<std::size_t>(rank)]),
          forced_idle(backwards, tails, rank, backwards.rank_start(rank)), work);
    }
    most_work = std::max(most_work, work);
    if (seconds < bound.seconds) continue;
    bound.seconds = seconds;
    bound.reason = "the work of rank " + std::to_string(rank);
    if (seconds > work) bound.reason += " and the idle time that filling and draining force on it";
  }
  bound.seconds = std::max(0.0, bound.seconds - kRounding * most_work);
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
