// SPDX-License-Identifier: Apache-2.0
#include "parallel/schedule/search/joint_search.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <utility>
#include <vector>

#include "parallel/schedule/search/lower_bound.h"
#include "parallel/schedule/search/search.h"
#include "parallel/schedule/search/split_search.h"
#include "parallel/schedule/search/split_tasks.h"

namespace halfpipe::schedule {
namespace {

// Shares of the budget that are used up when the phases of the search for splits end.
constexpr double kStartEnd = 0.15;
constexpr double kClimbEnd = 0.25;
constexpr double kCloserLookEnd = 0.45;
constexpr std::size_t kSemifinalists = 8;
// A long search goes on with this many splits, fewer if the others cannot win.
constexpr std::size_t kFinalists = 3;

std::vector<Split> finalists_of(const SplitSearch& search) {
  std::vector<Split> finalists{search.best_split()};
  for (const ScoredSplit& candidate : search.scored()) {
    if (finalists.size() == kFinalists) break;
    if (candidate.bound < search.best_cost() && candidate.split != search.best_split()) {
      finalists.push_back(candidate.split);
    }
  }
  return finalists;
}

}  // namespace

JointResult search_jointly(const JointProblem& problem, const SearchBudget& budget) {
  check(problem);
  const auto start = std::chrono::steady_clock::now();
  SplitSearch search(problem, budget);
  search.start(kStartEnd);
  if (search.scored().empty()) throw MemoryLimitError(smallest_limit_of_any_split(problem));
  if (!problem.blocks_per_stage) {
    search.climb(kClimbEnd);
    search.look_closer(kSemifinalists, kCloserLookEnd);
  }
  std::vector<Split> finalists = finalists_of(search);
  std::vector<SearchProblem> choices;
  for (const Split& split : finalists) choices.push_back(problem_of(problem, split));
  SearchResult found = search_schedule(choices, search.rest());
  // A search of another length takes another way, and now and then one that ends higher.
  if (found.cost > search.best_cost()) {
    found.cost = search.best_cost();
    found.choice = 0;
    found.orders = search.best_orders();
  }
  LowerBound bound = lower_bound(choices[found.choice]);
  const LowerBound any = bound_of_any_split(problem);
  if (any.seconds > bound.seconds) bound = any;  // what holds for all stages holds for these
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  return {std::move(finalists[found.choice]),
          std::move(found.orders),
          found.cost,
          bound.seconds,
          std::move(bound.reason),
          any.seconds,
          static_cast<int>(search.scored().size()),
          elapsed.count()};
}

}  // namespace halfpipe::schedule
