// SPDX-License-Identifier: Apache-2.0
#include "parallel/schedule/search/anneal.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace halfpipe::schedule {
namespace {

constexpr int kFarthest = 8;            // places that a pass shifts at most
constexpr double kCriticalShare = 0.6;  // of moves; the others are spread evenly
constexpr double kEndOfRunShare = 0.4;  // of those: to an end of their run
constexpr int kTriesPerLook = 64;       // between two looks at budget, temperature, critical path

/// A pass and where it is to go.
struct Move {
  Timetable::Place place;
  int to;
};

/// From one place of the critical path to an end of its run, the passes of one rank that follow one
/// another there: only what leaves a run, or comes to its ends, can shorten the path (the moves of
/// Balas and Vazacopoulos 1998 for job shops).
Move move_to_end_of_run(const std::vector<Timetable::Place>& critical,
                        std::size_t chosen,
                        bool later) {
  // The path goes back in time.
  std::size_t end = chosen;
  const auto same_run = [&](std::size_t one, std::size_t other) {
    return critical[one].rank == critical[other].rank &&
           critical[one].position == critical[other].position + 1;
  };
  if (later) {
    while (end > 0 && same_run(end - 1, end)) --end;
  } else {
    while (end + 1 < critical.size() && same_run(end, end + 1)) ++end;
  }
  return {critical[chosen], critical[end].position};
}

Move pick(const Instance& instance,
          const Timetable& timetable,
          const std::vector<Timetable::Place>& critical,
          Random& random) {
  Timetable::Place place{};
  if (!critical.empty() && random.chance(kCriticalShare)) {
    const std::size_t chosen = random.below(critical.size());
    if (random.chance(kEndOfRunShare)) {
      return move_to_end_of_run(critical, chosen, random.chance(0.5));
    }
    place = critical[chosen];
  } else {
    const auto rank = random.below(static_cast<std::uint64_t>(instance.num_ranks));
    const std::size_t size = timetable.orders()[static_cast<std::size_t>(rank)].size();
    place = {static_cast<int>(rank), static_cast<int>(random.below(size))};
  }
  const int distance = 1 + static_cast<int>(random.below(kFarthest));
  return {place, place.position + (random.chance(0.5) ? distance : -distance)};
}

bool passes_frozen(const Frozen& frozen, const Move& move) {
  const auto& [place, to] = move;
  if (frozen.empty()) return false;
  const auto& [first, end] = frozen[static_cast<std::size_t>(place.rank)];
  return std::max(place.position, to) >= first && std::min(place.position, to) < end;
}

}  // namespace

Cooling cooling_for(std::size_t num_ops) {
  const double hot = std::clamp(120.0 / static_cast<double>(num_ops), 0.08, 0.4);
  return {hot, 0.1 * hot};
}

void anneal(const Instance& instance,
            const Cooling& cooling,
            double good_enough,
            double until,
            BudgetShare& budget,
            Random& random,
            Timetable& timetable,
            const Frozen& frozen) {
  const double begin = budget.used();
  RowOrders best = timetable.orders();
  TimetableCost best_cost = timetable.cost();
  std::vector<Timetable::Place> critical;
  while (budget.used() < until && best_cost.worst > good_enough) {
    const double share = (budget.used() - begin) / (until - begin);
    const double temperature =
        instance.mean_pass_seconds * cooling.hot * std::pow(cooling.cold / cooling.hot, share);
    timetable.trace_critical(critical);
    budget.count(kTriesPerLook);
    for (int i = 0; i < kTriesPerLook; ++i) {
      const Move move = pick(instance, timetable, critical, random);
      const auto& [place, to] = move;
      const auto size =
          static_cast<int>(timetable.orders()[static_cast<std::size_t>(place.rank)].size());
      if (to < 0 || to >= size || to == place.position || passes_frozen(frozen, move)) continue;
      const double ceiling =
          timetable.cost().weighted() - temperature * std::log(1.0 - random.uniform());
      if (!timetable.shift(place.rank, place.position, to, ceiling)) continue;
      if (timetable.cost().weighted() < best_cost.weighted()) {
        best = timetable.orders();
        best_cost = timetable.cost();
      }
    }
  }
  timetable.load(best);
}

}  // namespace halfpipe::schedule
