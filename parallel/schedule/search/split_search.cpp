// SPDX-License-Identifier: Apache-2.0
#include "parallel/schedule/search/split_search.h"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <utility>

#include "parallel/schedule/search/lanes.h"
#include "parallel/schedule/search/lower_bound.h"
#include "parallel/schedule/search/one_at_a_time.h"
#include "parallel/schedule/search/order_search.h"
#include "parallel/schedule/search/partition_moves.h"
#include "parallel/schedule/search/search.h"
#include "parallel/schedule/search/split_tasks.h"

namespace halfpipe::schedule {
namespace {

// Evaluations of a short search: enough to tell splits apart by some percent.
constexpr std::int64_t kEvaluationsPerScore = 2048;
constexpr std::int64_t kFewestEvaluationsPerScore = 64;
// A counted budget allows about this many scores before kEvaluationsPerScore shrinks.
constexpr std::int64_t kScoresPerBudget = 64;
// A closer look is so much longer.
constexpr std::int64_t kCloserLook = 8;
// Neighbours of one split that are scored, those with the best loads first.
constexpr std::size_t kMostNeighbours = 24;
// Splits so much less promising than the best are not where to go on from.
constexpr double kFarBehind = 0.05;

std::int64_t evaluations_per_score(const SearchBudget& budget) {
  if (budget.evaluations == 0) return kEvaluationsPerScore;
  return std::clamp(budget.evaluations / kScoresPerBudget, kFewestEvaluationsPerScore,
                    kEvaluationsPerScore);
}

bool contains(const std::vector<Split>& splits, const Split& split) {
  return std::find(splits.begin(), splits.end(), split) != splits.end();
}

bool can_fit(const SearchProblem& problem) {
  const std::vector<std::int64_t> least = smallest_memory_limit(problem.placement, problem.costs);
  for (std::size_t rank = 0; rank < least.size(); ++rank) {
    if (problem.memory_limit[rank] < least[rank]) return false;
  }
  return true;
}

}  // namespace

SplitSearch::SplitSearch(const JointProblem& problem, const SearchBudget& budget)
    : problem_(problem), budget_(budget), share_(budget, 1, BudgetShare::Clock::now()) {}

double SplitSearch::used() const {
  return share_.used();
}

SearchBudget SplitSearch::rest() const {
  SearchBudget rest = budget_;
  const double left = std::max(0.0, 1.0 - used());
  rest.seconds *= left;
  if (rest.evaluations > 0) {
    rest.evaluations = std::max<std::int64_t>(1, budget_.evaluations - share_.count());
  }
  return rest;
}

void SplitSearch::score(const Split& split) {
  if (contains(met_, split)) return;
  met_.push_back(split);
  const SearchProblem problem = problem_of(problem_, split);
  if (!can_fit(problem)) return;
  insert(look_at(split, problem));
}

void SplitSearch::keep_if_best(const Split& split, double cost, const StageOrders& orders) {
  if (cost >= best_cost_) return;
  best_cost_ = cost;
  best_split_ = split;
  best_orders_ = orders;
}

ScoredSplit SplitSearch::look_at(const Split& split, const SearchProblem& problem) {
  SearchBudget brief = budget_;
  brief.evaluations = evaluations_per_score(budget_);
  share_.count(brief.evaluations);
  std::vector<Lane> lanes = make_lanes(brief);
  const double bound = lower_bound(problem).seconds;
  OrderSearch orders(problem, bound, brief);
  orders.offer(one_at_a_time_orders(problem.placement, problem.num_micro_batches));
  orders.try_library(lanes, OrderSearch::LibraryPart::kFirst, 1.0);
  orders.improve_policies(lanes, 1.0);
  keep_if_best(split, orders.best_cost(), orders.best("auto"));
  return {split, orders.best_cost(), bound};
}

ScoredSplit SplitSearch::look_closer_at(const Split& split) {
  SearchBudget longer = budget_;
  longer.evaluations = kCloserLook * evaluations_per_score(budget_);
  share_.count(longer.evaluations);
  const SearchResult found = search_schedule({problem_of(problem_, split)}, longer);
  keep_if_best(split, found.cost, found.orders);
  return {split, found.cost, found.bound, true};
}

void SplitSearch::insert(ScoredSplit scored) {
  const auto place = std::upper_bound(
      scored_.begin(), scored_.end(), scored.promise(),
      [](double mine, const ScoredSplit& other) { return mine < other.promise(); });
  scored_.insert(place, std::move(scored));
}

void SplitSearch::look_closer(std::size_t count, double until) {
  std::vector<Split> splits;
  for (const ScoredSplit& candidate : scored_) {
    if (splits.size() == count) break;
    if (candidate.bound < best_cost_ && !candidate.looked_closer) splits.push_back(candidate.split);
  }
  for (const Split& split : splits) {
    if (used() >= until) return;
    ScoredSplit closer = look_closer_at(split);
    const auto old =
        std::find_if(scored_.begin(), scored_.end(),
                     [&](const ScoredSplit& candidate) { return candidate.split == split; });
    closer.cost = std::min(closer.cost, old->cost);
    scored_.erase(old);
    insert(std::move(closer));
  }
}

void SplitSearch::start(double until) {
  const auto try_all = [&](const auto& blocks_on) {
    for (const Placement& placement : problem_.placements) {
      const std::optional<std::vector<int>> blocks = blocks_on(placement);
      if (blocks) score({placement, *blocks});
    }
  };
  using Blocks = std::optional<std::vector<int>>;
  if (problem_.blocks_per_stage) {
    try_all([&](const Placement& placement) -> Blocks {
      const auto num_stages = static_cast<int>(problem_.blocks_per_stage->size());
      return num_stages == placement.num_stages() ? problem_.blocks_per_stage : std::nullopt;
    });
    return;
  }
  const auto done = [&] { return !scored_.empty() && used() >= until; };
  try_all([&](const Placement& placement) {
    return balance_ranks(placement, partition_task_of(problem_, placement));
  });
  if (done()) return;
  try_all([&](const Placement& placement) {
    return balance_ranks(placement, memory_task_of(partition_task_of(problem_, placement)));
  });
  if (done()) return;
  try_all([&](const Placement& placement) -> Blocks {
    return balance_stages(placement, partition_task_of(problem_, placement));
  });
  if (done()) return;
  try_all([&](const Placement& placement) -> Blocks {
    if (placement.num_chunks() > 1) return std::nullopt;
    return balance_ranks(placement, task_of_1f1b(partition_task_of(problem_, placement),
                                                 problem_.num_micro_batches));
  });
}

std::vector<Split> SplitSearch::near(const Split& split) const {
  const PartitionTask task = partition_task_of(problem_, split.placement);
  std::vector<std::pair<PartitionMerit, Split>> others;
  for (std::vector<int>& blocks : partitions_near(split.blocks_per_stage)) {
    const PartitionMerit merit = merit_of(split.placement, task, blocks);
    const bool can_win =
        problem_.num_micro_batches * merit.heaviest_rank < best_cost_ && merit.excess_memory == 0.0;
    if (can_win) others.emplace_back(merit, Split{split.placement, std::move(blocks)});
  }
  std::stable_sort(others.begin(), others.end(), [](const auto& one, const auto& other) {
    return is_better(one.first, other.first);
  });
  std::vector<Split> result;
  for (auto& [merit, other] : others) {
    if (result.size() == kMostNeighbours) break;
    result.push_back(std::move(other));
  }
  return result;
}

const ScoredSplit* SplitSearch::next_to_expand() const {
  for (const ScoredSplit& candidate : scored_) {
    if (candidate.promise() > scored_.front().promise() * (1.0 + kFarBehind)) return nullptr;
    if (candidate.bound < best_cost_ && !contains(expanded_, candidate.split)) return &candidate;
  }
  return nullptr;
}

void SplitSearch::climb(double until) {
  while (used() < until) {
    const ScoredSplit* next = next_to_expand();
    if (next == nullptr) return;
    const Split from = next->split;  // scored_ grows
    const double best = scored_.front().promise();
    bool all_tried = true;
    for (const Split& other : near(from)) {
      if (used() >= until) return;
      score(other);
      if (scored_.front().promise() < best) {
        all_tried = false;
        break;
      }
    }
    if (all_tried) expanded_.push_back(from);
  }
}

}  // namespace halfpipe::schedule
