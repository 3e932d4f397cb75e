// SPDX-License-Identifier: Apache-2.0
#include "parallel/schedule/search/search.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

#include "parallel/schedule/catalogue.h"
#include "parallel/schedule/search/lanes.h"
#include "parallel/schedule/search/lower_bound.h"
#include "parallel/schedule/search/one_at_a_time.h"
#include "parallel/schedule/search/order_search.h"

namespace halfpipe::schedule {
namespace {

// How the budget is spent: shares of it that are used up when a phase ends.
constexpr double kLibraryEnd = 0.25;
struct Phases {
  double policies_end;
  double hot_end;  // of annealing; the rest cools down further
};

Phases phases_for(std::size_t num_ops) {
  constexpr std::size_t kManyOps = 6000;
  constexpr std::size_t kVeryManyOps = 12000;
  // An evaluation of many passes takes longer, so annealing gets less far.
  const double policies = num_ops > kVeryManyOps ? 0.85 : num_ops > kManyOps ? 0.6 : 0.35;
  return {policies, policies + 0.6 * (1.0 - policies)};
}
// Temperatures of 0.6 passes and more never improved anything.
constexpr Cooling kHot{0.08, 0.008};
constexpr Cooling kCold{0.05, 0.003};

void offer_catalogue(const SearchProblem& problem, OrderSearch& search) {
  const int p = problem.placement.num_pipeline_ranks();
  const int num_chunks = problem.placement.num_chunks();
  for (const std::string_view name : schedule_names()) {
    if (placement_for(name, p, num_chunks) != problem.placement) continue;
    search.offer(make_orders(name, p, problem.num_micro_batches, num_chunks, problem.costs));
  }
  search.offer(one_at_a_time_orders(problem.placement, problem.num_micro_batches));
}

std::vector<std::int64_t> smallest_limit(const SearchProblem& problem) {
  return smallest_memory_limit(problem.placement, problem.costs);
}

bool can_fit(const SearchProblem& problem) {
  const std::vector<std::int64_t> least = smallest_limit(problem);
  for (std::size_t rank = 0; rank < least.size(); ++rank) {
    if (problem.memory_limit[rank] < least[rank]) return false;
  }
  return true;
}

std::int64_t smallest_limit_of(const std::vector<SearchProblem>& choices) {
  std::int64_t smallest = std::numeric_limits<std::int64_t>::max();
  for (const SearchProblem& problem : choices) {
    const std::vector<std::int64_t> least = smallest_limit(problem);
    smallest = std::min(smallest, *std::max_element(least.begin(), least.end()));
  }
  return smallest;
}

OrderSearch& best_of(std::vector<OrderSearch>& searches) {
  return *std::min_element(searches.begin(), searches.end(),
                           [](const OrderSearch& one, const OrderSearch& other) {
                             return one.best_cost() < other.best_cost();
                           });
}

}  // namespace

MemoryLimitError::MemoryLimitError(std::int64_t smallest_limit_bytes)
    : ScheduleError("no schedule fits the memory limits; the smallest limit that has one is " +
                    std::to_string(smallest_limit_bytes) + " bytes of activations per rank"),
      smallest_limit_(smallest_limit_bytes) {}

SearchResult search_schedule(const std::vector<SearchProblem>& choices,
                             const SearchBudget& budget) {
  if (choices.empty()) throw ScheduleError("a search needs at least one placement");
  if (std::none_of(choices.begin(), choices.end(), can_fit)) {
    throw MemoryLimitError(smallest_limit_of(choices));
  }
  const auto start = std::chrono::steady_clock::now();
  std::vector<Lane> lanes = make_lanes(budget);
  std::vector<OrderSearch> searches;
  std::vector<LowerBound> bounds;
  std::vector<std::size_t> choice_of;  // [search]
  for (std::size_t choice = 0; choice < choices.size(); ++choice) {
    if (!can_fit(choices[choice])) continue;
    bounds.push_back(lower_bound(choices[choice]));
    choice_of.push_back(choice);
    searches.emplace_back(choices[choice], bounds.back().seconds, budget);
    offer_catalogue(choices[choice], searches.back());
  }
  for (std::size_t i = 0; i < searches.size(); ++i) {
    const double part = static_cast<double>(i + 1) / static_cast<double>(searches.size());
    if (!searches[i].is_optimal()) searches[i].try_library(lanes, kLibraryEnd * part);
  }
  OrderSearch& best = best_of(searches);
  const Phases phases = phases_for(best.num_ops());
  best.improve_policies(lanes, phases.policies_end);
  best.improve_orders(lanes, kHot, phases.hot_end);
  best.improve_orders(lanes, kCold, 1.0);

  const auto least = std::min_element(
      bounds.begin(), bounds.end(),
      [](const LowerBound& one, const LowerBound& other) { return one.seconds < other.seconds; });
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  return {best.best("auto"), choice_of[static_cast<std::size_t>(&best - searches.data())],
          best.best_cost(),  least->seconds,
          least->reason,     elapsed.count()};
}

}  // namespace halfpipe::schedule
