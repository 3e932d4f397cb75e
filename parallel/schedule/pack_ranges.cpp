// SPDX-License-Identifier: Apache-2.0
#include "parallel/schedule/pack_ranges.h"

#include <algorithm>
#include <cstddef>
#include <limits>
#include <numeric>
#include <tuple>
#include <utility>

namespace halfpipe::schedule {
namespace {

// Bounds the repair: steps of the inner loop per arena, about 20 ms.
constexpr std::int64_t kRepairSteps = 10'000'000;

using Order = std::vector<std::size_t>;  // of indices into the ranges

struct Packing {
  std::int64_t top = std::numeric_limits<std::int64_t>::max();
  std::vector<std::int64_t> offsets;
};

bool live_together(const LiveRange& a, const LiveRange& b) {
  return a.first <= b.last && b.first <= a.last;
}

/// Places the ranges one by one, each at the lowest offset that is free during its whole life.
Packing place_in_order(const std::vector<LiveRange>& ranges, const Order& order) {
  Packing packing{0, std::vector<std::int64_t>(ranges.size(), 0)};
  Order placed;  // by offset
  placed.reserve(ranges.size());
  for (const std::size_t index : order) {
    const LiveRange& range = ranges[index];
    std::int64_t lowest = 0;
    for (const std::size_t other : placed) {
      if (packing.offsets[other] >= lowest + range.bytes) break;
      if (!live_together(range, ranges[other])) continue;
      lowest = std::max(lowest, packing.offsets[other] + ranges[other].bytes);
    }
    packing.offsets[index] = lowest;
    packing.top = std::max(packing.top, lowest + range.bytes);
    const auto place = std::upper_bound(
        placed.begin(), placed.end(), lowest,
        [&](std::int64_t offset, std::size_t other) { return offset < packing.offsets[other]; });
    placed.insert(place, index);
  }
  return packing;
}

/// Orders that do well on schedules: large first, long first, and as time goes by.
std::vector<Order> starting_orders(const std::vector<LiveRange>& ranges) {
  Order by_start(ranges.size());
  std::iota(by_start.begin(), by_start.end(), std::size_t{0});
  std::stable_sort(by_start.begin(), by_start.end(),
                   [&](std::size_t a, std::size_t b) { return ranges[a].first < ranges[b].first; });
  const auto sorted_by = [&](auto key) {
    Order order = by_start;
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return key(ranges[a]) > key(ranges[b]); });
    return order;
  };
  const auto length = [](const LiveRange& r) { return std::int64_t{r.last} - r.first + 1; };
  return {sorted_by([](const LiveRange& r) { return r.bytes; }), sorted_by([&](const LiveRange& r) {
            return std::tuple{r.bytes, length(r)};
          }),
          by_start, sorted_by([&](const LiveRange& r) {
            return std::tuple{length(r), r.bytes};
          }),
          sorted_by([&](const LiveRange& r) { return length(r) * r.bytes; })};
}

/// Moves the ranges that stick out furthest to the front, again and again.
void repair(const std::vector<LiveRange>& ranges, std::int64_t peak, Order order, Packing& best) {
  const auto num_ranges = static_cast<std::int64_t>(ranges.size());
  const std::int64_t num_tries = kRepairSteps / (num_ranges * num_ranges + 1);
  Packing current = best;
  for (std::int64_t i = 0; i < num_tries && best.top > peak; ++i) {
    std::stable_partition(order.begin(), order.end(), [&](std::size_t index) {
      return current.offsets[index] + ranges[index].bytes == current.top;
    });
    current = place_in_order(ranges, order);
    if (current.top < best.top) best = current;
  }
}

}  // namespace

std::int64_t peak_of(const std::vector<LiveRange>& ranges) {
  std::vector<std::pair<int, std::int64_t>> changes;
  changes.reserve(2 * ranges.size());
  for (const LiveRange& range : ranges) {
    changes.emplace_back(range.first, range.bytes);
    changes.emplace_back(range.last + 1, -range.bytes);
  }
  // Negative changes come first at equal positions: what ended before makes room.
  std::sort(changes.begin(), changes.end());
  std::int64_t live = 0;
  std::int64_t peak = 0;
  for (const auto& [position, bytes] : changes) {
    live += bytes;
    peak = std::max(peak, live);
  }
  return peak;
}

std::int64_t pack(std::vector<LiveRange>& ranges) {
  const std::int64_t peak = peak_of(ranges);
  Packing best;
  Order best_order;
  for (const Order& order : starting_orders(ranges)) {
    Packing packing = place_in_order(ranges, order);
    if (packing.top < best.top) {
      best = std::move(packing);
      best_order = order;
    }
    if (best.top == peak) break;
  }
  if (best.top > peak) repair(ranges, peak, best_order, best);
  for (std::size_t i = 0; i < ranges.size(); ++i) ranges[i].offset = best.offsets[i];
  return best.top;
}

}  // namespace halfpipe::schedule
