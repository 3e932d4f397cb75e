// SPDX-License-Identifier: Apache-2.0
#include "parallel/schedule/search/anneal.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace halfpipe::schedule {
namespace {

constexpr int kFarthest = 8;            // places that a pass shifts at most
constexpr double kCriticalShare = 0.6;  // of moves; the others are spread evenly
constexpr int kTriesPerLook = 64;       // between two looks at budget, temperature, critical path

Timetable::Place pick(const Instance& instance,
                      const Timetable& timetable,
                      const std::vector<Timetable::Place>& critical,
                      Random& random) {
  if (!critical.empty() && random.chance(kCriticalShare)) {
    return critical[static_cast<std::size_t>(random.below(critical.size()))];
  }
  const auto rank = random.below(static_cast<std::uint64_t>(instance.num_ranks));
  const std::size_t size = timetable.orders()[static_cast<std::size_t>(rank)].size();
  return {static_cast<int>(rank), static_cast<int>(random.below(size))};
}

bool passes_frozen(const Frozen& frozen, const Timetable::Place& place, int to) {
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
      const Timetable::Place place = pick(instance, timetable, critical, random);
      const int distance = 1 + static_cast<int>(random.below(kFarthest));
      const int to = place.position + (random.chance(0.5) ? distance : -distance);
      const auto size =
          static_cast<int>(timetable.orders()[static_cast<std::size_t>(place.rank)].size());
      if (to < 0 || to >= size || passes_frozen(frozen, place, to)) continue;
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
