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

/// The ranges placed so far, found by time: positions are cut into buckets about as long as a range
/// lives, so that a search meets little but ranges that live at the same time, however long the
/// program is.
class PlacedRanges {
 public:
  explicit PlacedRanges(const std::vector<LiveRange>& ranges) : ranges_(ranges) {
    std::int64_t sum_of_lengths = 0;
    int last = 0;
    for (const LiveRange& range : ranges) {
      sum_of_lengths += std::int64_t{range.last} - range.first + 1;
      last = std::max(last, range.last);
    }
    const auto count = static_cast<std::int64_t>(std::max<std::size_t>(ranges.size(), 1));
    width_ = static_cast<int>(std::max<std::int64_t>(sum_of_lengths / count, 1));
    buckets_.resize(static_cast<std::size_t>(last / width_) + 1);
  }

  /// The lowest offset that is free during the whole life of `range`. Counts its steps.
  std::int64_t lowest_free(const LiveRange& range, std::int64_t& num_steps) {
    cursors_.clear();
    for (int b = range.first / width_; b <= range.last / width_; ++b) {
      const Bucket& bucket = buckets_[static_cast<std::size_t>(b)];
      if (!bucket.empty()) cursors_.push_back({bucket.data(), bucket.data() + bucket.size()});
    }
    std::int64_t lowest = 0;
    while (const Entry* entry = next_by_offset()) {
      ++num_steps;
      if (entry->offset >= lowest + range.bytes) break;
      const LiveRange& other = ranges_[entry->index];
      if (live_together(range, other)) lowest = std::max(lowest, entry->offset + other.bytes);
    }
    return lowest;
  }

  void insert(std::size_t index, std::int64_t offset) {
    const LiveRange& range = ranges_[index];
    for (int b = range.first / width_; b <= range.last / width_; ++b) {
      Bucket& bucket = buckets_[static_cast<std::size_t>(b)];
      const auto place = std::upper_bound(
          bucket.begin(), bucket.end(), offset,
          [](std::int64_t value, const Entry& entry) { return value < entry.offset; });
      bucket.insert(place, {offset, index});
    }
  }

 private:
  struct Entry {
    std::int64_t offset;
    std::size_t index;
  };
  using Bucket = std::vector<Entry>;  // by offset
  struct Cursor {
    const Entry* next;
    const Entry* end;
  };

  /// Merges the buckets under the cursors. A range that lies in several comes up several times.
  const Entry* next_by_offset() {
    Cursor* lowest = nullptr;
    for (Cursor& cursor : cursors_) {
      if (cursor.next == cursor.end) continue;
      if (lowest == nullptr || cursor.next->offset < lowest->next->offset) lowest = &cursor;
    }
    return lowest == nullptr ? nullptr : lowest->next++;
  }

  const std::vector<LiveRange>& ranges_;
  int width_ = 1;  // positions in a bucket
  std::vector<Bucket> buckets_;
  std::vector<Cursor> cursors_;  // of the search under way
};

/// Places the ranges one by one, each at the lowest offset that is free during its whole life.
Packing place_in_order(const std::vector<LiveRange>& ranges, const Order& order) {
  Packing packing{0, std::vector<std::int64_t>(ranges.size(), 0), 0};
  PlacedRanges placed(ranges);
  for (const std::size_t index : order) {
    const std::int64_t offset = placed.lowest_free(ranges[index], packing.num_steps);
    packing.offsets[index] = offset;
    packing.top = std::max(packing.top, offset + ranges[index].bytes);
    placed.insert(index, offset);
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
