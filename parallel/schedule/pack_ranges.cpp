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

// Bounds the repair: steps of the inner loop per starting order, a few milliseconds.
constexpr std::int64_t kRepairSteps = 400'000;

using Order = std::vector<std::size_t>;  // of indices into the ranges

struct Packing {
  std::int64_t top = std::numeric_limits<std::int64_t>::max();
  std::vector<std::int64_t> offsets;
  std::int64_t num_steps = 0;  // that it took to find
};

bool live_together(const LiveRange& a, const LiveRange& b) {
  return a.first <= b.last && b.first <= a.last;
}

/// Places the ranges one by one, each at the lowest offset that is free during its whole life.
Packing place_in_order(const std::vector<LiveRange>& ranges, const Order& order) {
  Packing packing{0, std::vector<std::int64_t>(ranges.size(), 0), 0};
  Order placed;  // by offset
  placed.reserve(ranges.size());
  for (const std::size_t index : order) {
    const LiveRange& range = ranges[index];
    std::int64_t lowest = 0;
    for (const std::size_t other : placed) {
      ++packing.num_steps;
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

/// Places in this order, then moves the ranges that stick out furthest to the front and places
/// again, until the peak is reached or the steps are used up. Returns the best packing seen.
Packing place_and_repair(const std::vector<LiveRange>& ranges, std::int64_t peak, Order order) {
  Packing current = place_in_order(ranges, order);
  Packing best = current;
  std::int64_t num_steps = current.num_steps;
  while (best.top > peak && num_steps < kRepairSteps) {
    std::stable_partition(order.begin(), order.end(), [&](std::size_t index) {
      return current.offsets[index] + ranges[index].bytes == current.top;
    });
    current = place_in_order(ranges, order);
    num_steps += current.num_steps;
    if (current.top < best.top) best = current;
  }
  return best;
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
  for (const Order& order : starting_orders(ranges)) {
    Packing packing = place_and_repair(ranges, peak, order);
    if (packing.top < best.top) best = std::move(packing);
    if (best.top == peak) break;
  }
  for (std::size_t i = 0; i < ranges.size(); ++i) ranges[i].offset = best.offsets[i];
  return best.top;
}

}  // namespace halfpipe::schedule
