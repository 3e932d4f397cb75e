// SPDX-License-Identifier: Apache-2.0
#include "parallel/schedule/search/joint_search.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <limits>
#include <utility>
#include <vector>

#include "parallel/schedule/search/lower_bound.h"
#include "parallel/schedule/search/partition_layers.h"
#include "parallel/schedule/search/search.h"
#include "parallel/schedule/search/split_search.h"

namespace halfpipe::schedule {
namespace {

// Share of the budget for short searches.
constexpr double kScoringEnd = 0.4;
// A long search goes on with this many splits, and with the best of every placement that is near.
constexpr std::size_t kFinalists = 2;
constexpr double kNearEnough = 0.03;

std::vector<Split> finalists_of(const std::vector<ScoredSplit>& scored) {
  std::vector<Split> finalists;
  for (std::size_t i = 0; i < scored.size(); ++i) {
    if (scored[i].cost > scored.front().cost * (1.0 + kNearEnough)) break;
    const Split& split = scored[i].split;
    const bool first_of_placement =
        std::none_of(finalists.begin(), finalists.end(),
                     [&](const Split& other) { return other.placement == split.placement; });
    if (i < kFinalists || first_of_placement) finalists.push_back(split);
  }
  return finalists;
}

double bound_of_any_split(const JointProblem& problem) {
  double least = std::numeric_limits<double>::infinity();
  for (const Placement& placement : problem.placements) {
    least = std::min(least, heaviest_rank_bound(placement, partition_task_of(problem, placement)));
  }
  return problem.num_micro_batches * least;
}

}  // namespace

JointResult search_jointly(const JointProblem& problem, const SearchBudget& budget) {
  check(problem);
  const auto start = std::chrono::steady_clock::now();
  SplitSearch search(problem, budget);
  search.start();
  if (search.scored().empty()) throw MemoryLimitError(smallest_limit_of_any_split(problem));
  if (!problem.blocks_per_stage) search.climb(kScoringEnd);
  std::vector<Split> finalists = finalists_of(search.scored());
  std::vector<SearchProblem> choices;
  for (const Split& split : finalists) choices.push_back(problem_of(problem, split));
  SearchResult found = search_schedule(choices, search.rest());
  LowerBound bound = lower_bound(choices[found.choice]);
  const double any = problem.blocks_per_stage ? bound.seconds : bound_of_any_split(problem);
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  return {std::move(finalists[found.choice]),
          std::move(found.orders),
          found.cost,
          bound.seconds,
          std::move(bound.reason),
          any,
          static_cast<int>(search.scored().size()),
          elapsed.count()};
}

}  // namespace halfpipe::schedule
