// SPDX-License-Identifier: Apache-2.0
#include "parallel/schedule/search/contenders.h"

#include <algorithm>
#include <cstdint>
#include <functional>
#include <limits>
#include <string_view>
#include <utility>

#include "parallel/schedule/search/known_orders.h"
#include "parallel/schedule/search/lanes.h"
#include "parallel/schedule/search/one_at_a_time.h"
#include "parallel/schedule/search/search.h"
#include "parallel/schedule/stage_orders.h"

namespace halfpipe::schedule {
namespace {

// Bounds are up to 1e-9 of the work too low.
constexpr double kRounding = 1e-7;

std::vector<std::int64_t> smallest_limit(const SearchProblem& problem) {
  return smallest_memory_limit(problem.placement, problem.costs);
}

bool can_fit(const SearchProblem& problem) {
  const std::vector<std::int64_t> least = smallest_limit(problem);
  return std::equal(least.begin(), least.end(), problem.memory_limit.begin(),
                    problem.memory_limit.end(), std::less_equal());
}

std::int64_t smallest_limit_of(const std::vector<SearchProblem>& choices) {
  std::int64_t smallest = std::numeric_limits<std::int64_t>::max();
  for (const SearchProblem& problem : choices) {
    const std::vector<std::int64_t> least = smallest_limit(problem);
    smallest = std::min(smallest, *std::max_element(least.begin(), least.end()));
  }
  return smallest;
}

/// One schedule of the catalogue for one contender.
struct KnownSchedule {
  std::size_t contender;
  std::string_view name;
};

void offer_known(const std::vector<SearchProblem>& choices,
                 const std::vector<KnownSchedule>& known,
                 int num_threads,
                 std::vector<Contender>& contenders) {
  std::vector<std::vector<StageOrders>> made(known.size());
  run_in_parallel(known.size(), num_threads, [&](std::size_t i) {
    made[i] = known_orders(choices[contenders[known[i].contender].choice], known[i].name);
  });
  for (std::size_t i = 0; i < known.size(); ++i) {
    for (const StageOrders& orders : made[i]) contenders[known[i].contender].search.offer(orders);
  }
}

}  // namespace

bool Contender::cannot_beat(double cost) const {
  return bound.seconds >= cost * (1.0 - kRounding);
}

std::vector<Contender> make_contenders(const std::vector<SearchProblem>& choices,
                                       const SearchBudget& budget) {
  std::vector<std::size_t> fitting;
  for (std::size_t choice = 0; choice < choices.size(); ++choice) {
    if (can_fit(choices[choice])) fitting.push_back(choice);
  }
  if (fitting.empty()) throw MemoryLimitError(smallest_limit_of(choices));
  std::vector<LowerBound> bounds(fitting.size());
  run_in_parallel(fitting.size(), budget.num_threads,
                  [&](std::size_t i) { bounds[i] = lower_bound(choices[fitting[i]]); });
  std::vector<Contender> contenders;
  for (std::size_t i = 0; i < fitting.size(); ++i) {
    const SearchProblem& problem = choices[fitting[i]];
    OrderSearch search(problem, bounds[i].seconds, budget);
    search.offer(one_at_a_time_orders(problem.placement, problem.num_micro_batches));
    contenders.push_back({fitting[i], std::move(bounds[i]), std::move(search)});
  }
  // More chunks begin with better orders, mostly, and spare the others the making of theirs.
  for (const bool many_chunks : {true, false}) {
    std::vector<KnownSchedule> known;
    for (std::size_t i = 0; i < contenders.size(); ++i) {
      const SearchProblem& problem = choices[contenders[i].choice];
      if ((problem.placement.num_chunks() > 1) != many_chunks) continue;
      // Without cannot_beat's tolerance: what is passed over is worse, not as good but for
      // rounding.
      if (contenders[i].bound.seconds >= best_of(contenders).search.best_cost()) continue;
      for (const std::string_view name : known_names(problem)) known.push_back({i, name});
    }
    offer_known(choices, known, budget.num_threads, contenders);
  }
  return contenders;
}

Contender& best_of(std::vector<Contender>& contenders) {
  return *std::min_element(contenders.begin(), contenders.end(),
                           [](const Contender& one, const Contender& other) {
                             return one.search.best_cost() < other.search.best_cost();
                           });
}

std::vector<Contender*> hopeful(std::vector<Contender>& contenders, double gain) {
  const double best = best_of(contenders).search.best_cost();
  std::vector<Contender*> hopes;
  std::vector<Contender*> far;
  for (Contender& contender : contenders) {
    if (contender.cannot_beat(best) || contender.search.is_optimal()) continue;
    const double cost = contender.search.best_cost();
    (cost - gain * (cost - contender.bound.seconds) <= best ? hopes : far).push_back(&contender);
  }
  if (hopes.empty()) hopes = std::move(far);
  std::stable_sort(hopes.begin(), hopes.end(), [](const Contender* one, const Contender* other) {
    return one->search.best_cost() < other->search.best_cost();
  });
  return hopes;
}

}  // namespace halfpipe::schedule
