// SPDX-License-Identifier: Apache-2.0
#include "parallel/schedule/search/short_step.h"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <utility>

#include "parallel/schedule/search/anneal.h"
#include "parallel/schedule/search/known_orders.h"
#include "parallel/schedule/search/lengthen.h"
#include "parallel/schedule/simulate.h"

namespace halfpipe::schedule {
namespace {

// Enough for both ends and a steady state between them under any limit up to 1F1B's.
constexpr int kMicroBatchesPerRank = 3;
// To each side of the window that is repeated, at least its own length: where it is no longer the
// same as its neighbours, it cannot be repeated.
constexpr int kFrozenMicroBatches = 3;
// Of the windows that are tried, in micro-batches: a steady state may repeat itself only after
// several.
constexpr int kLengths[] = {1, 2, 4};

/// As many more as a multiple of every length are in the whole step.
int few_micro_batches(const SearchProblem& problem) {
  const int few = kMicroBatchesPerRank * problem.placement.num_pipeline_ranks();
  return few + std::max(0, problem.num_micro_batches - few) % kLengths[2];
}

SearchProblem short_step_of(SearchProblem problem) {
  problem.num_micro_batches = few_micro_batches(problem);
  return problem;
}

/// Short orders that have a steady state, and what becomes of them.
struct Start {
  RowOrders orders;
  Frozen frozen;
  double whole_cost;
};

class ShortStep {
 public:
  ShortStep(const SearchProblem& problem, const SearchBudget& budget)
      : short_problem_(short_step_of(problem)),
        instance_(short_problem_),
        whole_instance_(problem),
        whole_timetable_(whole_instance_),
        search_(short_problem_, 0.0, budget) {
    offer_known_orders(short_problem_, search_);
    collect_starts();
  }

  OrderSearch& search() { return search_; }

  /// Keeps the candidates of the short search that become long ones: later ones that do not may
  /// push them out of its pool.
  void collect_starts() {
    for (const Candidate& candidate : search_.candidates()) {
      std::optional<Start> start = start_from(candidate.orders);
      if (!start) continue;
      const auto place =
          std::lower_bound(starts_.begin(), starts_.end(), start->whole_cost,
                           [](const Start& one, double cost) { return one.whole_cost < cost; });
      if (place != starts_.end() && place->whole_cost == start->whole_cost) continue;
      starts_.insert(place, *std::move(start));
    }
  }

  /// Best first.
  const std::vector<Start>& starts() const { return starts_; }

  std::optional<StageOrders> whole(const RowOrders& orders) {
    const std::optional<Start> start = start_from(orders);
    if (!start) return std::nullopt;
    return whole_instance_.orders_of(whole_timetable_.orders(), "short step");
  }

  const Instance& instance() const { return instance_; }

 private:
  std::optional<Start> start_from(const RowOrders& orders) {
    const StageOrders named = instance_.orders_of(orders, "short step");
    const Timeline timeline = simulate(named, short_problem_.costs);
    for (const int length : kLengths) {
      const auto windows = steady_windows(instance_, length, orders, timeline);
      if (!windows) continue;
      if (!whole_timetable_.load(
              lengthen(instance_, orders, *windows, length, whole_instance_.num_micro_batches))) {
        continue;
      }
      const int passes = kNumPasses * instance_.num_stages / instance_.num_ranks;
      Frozen frozen;
      for (const int window : *windows) {
        const int beside = std::max(kFrozenMicroBatches, length);
        frozen.push_back({window - beside * passes, window + (beside + length) * passes});
      }
      return Start{orders, frozen, whole_timetable_.cost().weighted()};
    }
    return std::nullopt;
  }

  SearchProblem short_problem_;
  Instance instance_;
  Instance whole_instance_;
  Timetable whole_timetable_;
  OrderSearch search_;
  std::vector<Start> starts_;
};

}  // namespace

bool is_long_step(const SearchProblem& problem) {
  // With less than twice as many micro-batches the short step takes more time than it saves.
  return problem.num_micro_batches >
         2 * kMicroBatchesPerRank * problem.placement.num_pipeline_ranks();
}

void improve_by_short_step(const SearchProblem& problem,
                           const SearchBudget& budget,
                           std::vector<Lane>& lanes,
                           double until,
                           OrderSearch& whole) {
  if (!is_long_step(problem)) return;
  ShortStep step(problem, budget);
  const double used = lanes.front().budget.used();
  const auto after = [&](double share) { return used + share * (until - used); };
  constexpr double kShareOfLibrary = 0.1;
  constexpr double kShareOfPolicies = 0.25;
  step.search().try_library(lanes, OrderSearch::LibraryPart::kFirst, after(kShareOfLibrary));
  step.collect_starts();
  step.search().improve_policies(lanes, after(kShareOfPolicies));
  step.collect_starts();
  const std::vector<Start>& starts = step.starts();
  if (starts.empty()) return;
  std::vector<RowOrders> ends(lanes.size());
  run_lanes(lanes, budget.num_threads, [&](Lane& lane) {
    const Start& start = starts[lane.index < 2 ? 0 : (lane.index - 1) % starts.size()];
    Timetable timetable(step.instance());
    timetable.load(start.orders);
    anneal(step.instance(), cooling_for(step.instance().num_ops()), 0.0, until, lane.budget,
           lane.random, timetable, start.frozen);
    ends[lane.index] = timetable.orders();
  });
  for (const RowOrders& orders : ends) {
    if (const std::optional<StageOrders> longer = step.whole(orders)) whole.offer(*longer);
  }
}

}  // namespace halfpipe::schedule
