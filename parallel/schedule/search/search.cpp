// SPDX-License-Identifier: Apache-2.0
#include "parallel/schedule/search/search.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>

#include "parallel/schedule/search/contenders.h"
#include "parallel/schedule/search/known_blocks.h"
#include "parallel/schedule/search/lanes.h"
#include "parallel/schedule/search/order_search.h"
#include "parallel/schedule/search/short_step.h"

namespace halfpipe::schedule {
namespace {

// How the budget is spent: shares of it that are used up when a phase ends.
constexpr double kBlocksEnd = 0.12;
constexpr double kFirstLookEnd = 0.15;
struct Phases {
  double race_end;
  double policies_end;  // or earlier, when they find nothing better any more
};

Phases phases_for(std::size_t num_ops) {
  constexpr std::size_t kManyOps = 6000;
  constexpr std::size_t kVeryManyOps = 12000;
  // An evaluation of many passes takes longer, so annealing gets less far.
  const double race = num_ops > kManyOps ? 0.35 : 0.25;
  const double policies = num_ops > kVeryManyOps ? 0.65 : num_ops > kManyOps ? 0.55 : 0.35;
  return {race, policies};
}
Cooling further(Cooling cooling) {
  return {0.6 * cooling.hot, 0.4 * cooling.cold};
}
// How much of the way from the best orders of a placement down to its bound a search may still go:
// a placement that would not win even then is given up.
constexpr double kGainByPolicies = 0.5;
double gain_by_orders(std::size_t num_ops) {
  return std::clamp(400.0 / static_cast<double>(num_ops), 0.06, 0.3);
}
/// Runs improve(search, until) over those that may win, the best first and longest, until the lanes
/// have used `until` of their budgets or nothing is left to win.
template <typename Improve>
void share_out(std::vector<Contender>& contenders,
               const std::vector<Lane>& lanes,
               double gain,
               double until,
               const Improve& improve) {
  constexpr double kShareOfBest = 0.6;
  const auto used = [&] { return lanes.front().budget.used(); };
  while (used() < until) {
    const std::vector<Contender*> hopes = hopeful(contenders, gain);
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

/// Building blocks of the V, where nothing is proved yet.
void try_blocks(const std::vector<SearchProblem>& choices,
                const SearchBudget& budget,
                std::vector<Contender>& contenders,
                std::vector<Lane>& lanes) {
  for (Contender& contender : contenders) {
    const double best = best_of(contenders).search.best_cost();
    if (contender.cannot_beat(best)) continue;
    offer_v_blocks(choices[contender.choice], budget.num_threads, lanes, kBlocksEnd,
                   contender.search);
  }
}

/// The first policies of the library on every placement.
void first_look(std::vector<Contender>& contenders, std::vector<Lane>& lanes) {
  for (Contender& contender : contenders) {
    const double best = best_of(contenders).search.best_cost();
    if (contender.cannot_beat(best)) continue;
    contender.search.try_library(lanes, OrderSearch::LibraryPart::kFirst, kFirstLookEnd);
  }
}

/// Policies for every placement that is not far behind after the first look, the best two anyhow.
void race(std::vector<Contender>& contenders, std::vector<Lane>& lanes, double until) {
  constexpr double kShareOfLibrary = 0.4;
  constexpr double kFarBehind = 0.06;
  std::vector<Contender*> hopes = hopeful(contenders, 1.0);
  const double far = best_of(contenders).search.best_cost() * (1.0 + kFarBehind);
  while (hopes.size() > 2 && hopes.back()->search.best_cost() > far) hopes.pop_back();
  for (std::size_t i = 0; i < hopes.size(); ++i) {
    const double used = lanes.front().budget.used();
    const double part = (until - used) / static_cast<double>(hopes.size() - i);
    hopes[i]->search.try_library(lanes, OrderSearch::LibraryPart::kRest,
                                 used + kShareOfLibrary * part);
    hopes[i]->search.improve_policies(lanes, used + part);
  }
}

/// Ends before `until` when a part of the time has brought nothing and the best orders are others.
void improve_policies(std::vector<Contender>& contenders, std::vector<Lane>& lanes, double until) {
  constexpr int kParts = 5;
  const double begin = lanes.front().budget.used();
  const auto costs = [&] {
    std::vector<double> all;
    for (const Contender& contender : contenders) all.push_back(contender.search.best_cost());
    return all;
  };
  for (int part = 1; part <= kParts; ++part) {
    const std::vector<double> before = costs();
    share_out(contenders, lanes, kGainByPolicies, begin + part * (until - begin) / kParts,
              [&](OrderSearch& search, double end) { search.improve_policies(lanes, end); });
    if (costs() == before && !best_of(contenders).search.are_policies_near()) return;
  }
}

/// Where steps are long, the best placements by way of short ones.
void improve_long_steps(const std::vector<SearchProblem>& choices,
                        const SearchBudget& budget,
                        std::vector<Contender>& contenders,
                        std::vector<Lane>& lanes) {
  constexpr double kShare = 0.4;
  constexpr std::size_t kMost = 2;
  if (!is_long_step(choices.front())) return;
  const double used = lanes.front().budget.used();
  const double until = used + kShare * (1.0 - used);
  std::vector<Contender*> hopes = hopeful(contenders, kGainByPolicies);
  if (hopes.size() > kMost) hopes.resize(kMost);
  for (std::size_t i = 0; i < hopes.size(); ++i) {
    const double begin = lanes.front().budget.used();
    const double part = (until - begin) / static_cast<double>(hopes.size() - i);
    improve_by_short_step(choices[hopes[i]->choice], budget, lanes, begin + part, hopes[i]->search);
  }
}

/// Anneals twice, the second time from a lower temperature on. Between them policies get another
/// turn where the first time has changed nothing.
void improve_orders(std::vector<Contender>& contenders, std::vector<Lane>& lanes) {
  constexpr double kHotShare = 0.6;
  constexpr double kPoliciesShare = 0.5;  // of the rest
  const std::size_t num_ops = best_of(contenders).search.num_ops();
  const double begin = lanes.front().budget.used();
  const Cooling first = cooling_for(num_ops);
  const auto anneal_until = [&](const Cooling& cooling, double until) {
    share_out(contenders, lanes, gain_by_orders(num_ops), until,
              [&](OrderSearch& search, double end) { search.improve_orders(lanes, cooling, end); });
  };
  const double before = best_of(contenders).search.best_cost();
  anneal_until(first, begin + kHotShare * (1.0 - begin));
  const OrderSearch& best = best_of(contenders).search;
  if (best.best_cost() == before && best.are_policies_near()) {
    const double used = lanes.front().budget.used();
    improve_policies(contenders, lanes, used + kPoliciesShare * (1.0 - used));
  }
  anneal_until(further(first), 1.0);
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
  try_blocks(choices, budget, contenders, lanes);
  first_look(contenders, lanes);
  const Phases phases = phases_for(best_of(contenders).search.num_ops());
  race(contenders, lanes, phases.race_end);
  improve_policies(contenders, lanes, phases.policies_end);
  improve_long_steps(choices, budget, contenders, lanes);
  improve_orders(contenders, lanes);

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
