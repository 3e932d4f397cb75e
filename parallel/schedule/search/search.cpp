// SPDX-License-Identifier: Apache-2.0
#include "parallel/schedule/search/search.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>

#include "parallel/schedule/search/known_orders.h"
#include "parallel/schedule/search/lanes.h"
#include "parallel/schedule/search/lower_bound.h"
#include "parallel/schedule/search/order_search.h"

namespace halfpipe::schedule {
namespace {

// How the budget is spent: shares of it that are used up when a phase ends.
constexpr double kFirstLookEnd = 0.15;
constexpr double kLibraryEnd = 0.3;
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
// Few passes are shifted often enough to come down from a higher temperature. 0.6 passes and more
// never improved anything.
Cooling cooling_for(std::size_t num_ops) {
  const double hot = std::clamp(120.0 / static_cast<double>(num_ops), 0.08, 0.4);
  return {hot, 0.1 * hot};
}
Cooling further(Cooling cooling) {
  return {0.6 * cooling.hot, 0.4 * cooling.cold};
}
// A placement whose orders cost so much more than the best is given up: policies and shifts rarely
// win that much.
constexpr double kFarBehindByFirstLook = 0.06;
constexpr std::size_t kMostAfterFirstLook = 2;
constexpr double kFarBehindByPolicies = 0.03;
constexpr double kFarBehindByOrders = 0.01;
// Bounds are up to 1e-9 of the work too low.
constexpr double kRounding = 1e-7;

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

/// One placement that may be chosen.
struct Contender {
  std::size_t choice;
  LowerBound bound;
  OrderSearch search;
};

Contender& best_of(std::vector<Contender>& contenders) {
  return *std::min_element(contenders.begin(), contenders.end(),
                           [](const Contender& one, const Contender& other) {
                             return one.search.best_cost() < other.search.best_cost();
                           });
}

/// Those that may still win, best first: not proved optimal, their bound below the best cost, and
/// not far behind it.
std::vector<Contender*> hopeful(std::vector<Contender>& contenders, double far_behind) {
  const double best = best_of(contenders).search.best_cost();
  std::vector<Contender*> hopes;
  for (Contender& contender : contenders) {
    const bool can_win = contender.bound.seconds < best * (1.0 - kRounding);
    const bool near = contender.search.best_cost() <= best * (1.0 + far_behind);
    if (can_win && near && !contender.search.is_optimal()) hopes.push_back(&contender);
  }
  std::stable_sort(hopes.begin(), hopes.end(), [](const Contender* one, const Contender* other) {
    return one->search.best_cost() < other->search.best_cost();
  });
  return hopes;
}

/// Runs improve(search, until) over those that may win, the best first and longest, until the lanes
/// have used `until` of their budgets or nothing is left to win.
template <typename Improve>
void share_out(std::vector<Contender>& contenders,
               const std::vector<Lane>& lanes,
               double far_behind,
               double until,
               const Improve& improve) {
  constexpr double kShareOfBest = 0.6;
  const auto used = [&] { return lanes.front().budget.used(); };
  while (used() < until) {
    const std::vector<Contender*> hopes = hopeful(contenders, far_behind);
    if (hopes.empty()) return;
    const double left = until - used();
    if (hopes.size() == 1) {
      improve(hopes.front()->search, until);
      continue;
    }
    improve(hopes.front()->search, used() + kShareOfBest * left);
    for (std::size_t i = 1; i < hopes.size(); ++i) {
      const double part = (until - used()) / static_cast<double>(hopes.size() - i);
      improve(hopes[i]->search, used() + part);
    }
  }
}

std::vector<Contender> make_contenders(const std::vector<SearchProblem>& choices,
                                       const SearchBudget& budget) {
  std::vector<Contender> contenders;
  for (std::size_t choice = 0; choice < choices.size(); ++choice) {
    if (!can_fit(choices[choice])) continue;
    LowerBound bound = lower_bound(choices[choice]);
    OrderSearch search(choices[choice], bound.seconds, budget);
    offer_known_orders(choices[choice], search);
    contenders.push_back({choice, std::move(bound), std::move(search)});
  }
  if (contenders.empty()) throw MemoryLimitError(smallest_limit_of(choices));
  return contenders;
}

/// A first look at every placement, then the rest of the library for the best of them.
void try_libraries(std::vector<Contender>& contenders, std::vector<Lane>& lanes) {
  for (Contender& contender : contenders) {
    const double best = best_of(contenders).search.best_cost();
    if (contender.bound.seconds >= best * (1.0 - kRounding)) continue;
    contender.search.try_library(lanes, OrderSearch::LibraryPart::kFirst, kFirstLookEnd);
  }
  std::vector<Contender*> hopes = hopeful(contenders, kFarBehindByFirstLook);
  if (hopes.size() > kMostAfterFirstLook) hopes.resize(kMostAfterFirstLook);
  for (std::size_t i = 0; i < hopes.size(); ++i) {
    const double used = lanes.front().budget.used();
    const double part = (kLibraryEnd - used) / static_cast<double>(hopes.size() - i);
    hopes[i]->search.try_library(lanes, OrderSearch::LibraryPart::kRest, used + part);
  }
}

}  // namespace

MemoryLimitError::MemoryLimitError(std::int64_t smallest_limit_bytes)
    : ScheduleError("no schedule fits the memory limits; the smallest limit that has one is " +
                    std::to_string(smallest_limit_bytes) + " bytes of activations per rank"),
      smallest_limit_(smallest_limit_bytes) {}

SearchResult search_schedule(const std::vector<SearchProblem>& choices,
                             const SearchBudget& budget) {
  if (choices.empty()) throw ScheduleError("a search needs at least one placement");
  const auto start = std::chrono::steady_clock::now();
  std::vector<Lane> lanes = make_lanes(budget);
  std::vector<Contender> contenders = make_contenders(choices, budget);
  try_libraries(contenders, lanes);
  const Phases phases = phases_for(best_of(contenders).search.num_ops());
  share_out(contenders, lanes, kFarBehindByPolicies, phases.policies_end,
            [&](OrderSearch& search, double until) { search.improve_policies(lanes, until); });
  const Cooling first = cooling_for(best_of(contenders).search.num_ops());
  const auto anneal_until = [&](const Cooling& cooling, double until) {
    share_out(contenders, lanes, kFarBehindByOrders, until,
              [&](OrderSearch& search, double end) { search.improve_orders(lanes, cooling, end); });
  };
  anneal_until(first, phases.hot_end);
  anneal_until(further(first), 1.0);

  const Contender& best = best_of(contenders);
  const Contender& least = *std::min_element(contenders.begin(), contenders.end(),
                                             [](const Contender& one, const Contender& other) {
                                               return one.bound.seconds < other.bound.seconds;
                                             });
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  return {best.search.best("auto"), best.choice,        best.search.best_cost(),
          least.bound.seconds,      least.bound.reason, elapsed.count()};
}

}  // namespace halfpipe::schedule
