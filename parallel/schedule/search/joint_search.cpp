// SPDX-License-Identifier: Apache-2.0
#include "parallel/schedule/search/joint_search.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
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
// What is left goes in this part to the split with the lowest bound, where that is so much below
// the best cost: short searches find nothing good for some that long ones do best on.
constexpr double kOutsiderShare = 0.25;
constexpr double kOutsiderBound = 0.97;

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

/// Nothing where no bound but those of finalists is low.
std::optional<Split> outsider_of(const SplitSearch& search, const std::vector<Split>& finalists) {
  const ScoredSplit* lowest = nullptr;
  for (const ScoredSplit& candidate : search.scored()) {
    if (lowest == nullptr || candidate.bound < lowest->bound) lowest = &candidate;
  }
  if (lowest->bound >= kOutsiderBound * search.best_cost()) return std::nullopt;
  if (std::find(finalists.begin(), finalists.end(), lowest->split) != finalists.end()) {
    return std::nullopt;
  }
  return lowest->split;
}

SearchBudget part_of(SearchBudget budget, double share) {
  budget.seconds *= share;
  if (budget.evaluations > 0) {
    budget.evaluations = std::max<std::int64_t>(
        1, static_cast<std::int64_t>(share * static_cast<double>(budget.evaluations)));
  }
  return budget;
}

struct Found {
  Split split;
  StageOrders orders;
  double cost;
};

Found search_among(const JointProblem& problem,
                   const std::vector<Split>& splits,
                   const SearchBudget& budget) {
  std::vector<SearchProblem> choices;
  for (const Split& split : splits) choices.push_back(problem_of(problem, split));
  SearchResult result = search_schedule(choices, budget);
  return {splits[result.choice], std::move(result.orders), result.cost};
}

/// The best of the long searches and of the short ones before them: a search of another length
/// takes another way, and now and then one that ends higher.
Found finish(const JointProblem& problem, const SplitSearch& search) {
  const std::vector<Split> finalists = finalists_of(search);
  const std::optional<Split> outsider = outsider_of(search, finalists);
  const SearchBudget rest = search.rest();
  Found best =
      search_among(problem, finalists, outsider ? part_of(rest, 1.0 - kOutsiderShare) : rest);
  if (outsider) {
    Found other = search_among(problem, {*outsider}, part_of(rest, kOutsiderShare));
    if (other.cost < best.cost) best = std::move(other);
  }
  if (best.cost <= search.best_cost()) return best;
  return {search.best_split(), search.best_orders(), search.best_cost()};
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
  Found found = finish(problem, search);
  LowerBound bound = lower_bound(problem_of(problem, found.split));
  const LowerBound any = bound_of_any_split(problem);
  if (any.seconds > bound.seconds) bound = any;  // what holds for all stages holds for these
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  return {std::move(found.split),
          std::move(found.orders),
          found.cost,
          bound.seconds,
          std::move(bound.reason),
          any.seconds,
          static_cast<int>(search.scored().size()),
          elapsed.count()};
}

}  // namespace halfpipe::schedule
