// SPDX-License-Identifier: Apache-2.0
#include "parallel/schedule/pack_ranges.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numeric>
#include <utility>

namespace halfpipe::schedule {
namespace {

// Bounds of the search in steps, a few nanoseconds each. Ten times as many steps gain less than
// 0.1% of the arena on the mean of the named schedules.
constexpr std::int64_t kRepairSteps = 30'000;  // per starting order
constexpr std::int64_t kSteps = 300'000;       // after which a packing that is close will do
constexpr std::int64_t kCloseEnough = 20;      // a twentieth of the peak above it

using Order = std::vector<std::size_t>;  // of indices into the ranges

struct Packing {
  std::int64_t top = std::numeric_limits<std::int64_t>::max();
  std::vector<std::int64_t> offsets;
  std::int64_t num_steps = 0;  // that it took
};

/// The same ranges on a clock that ticks only where a range starts: ranges live together exactly
/// when one of them starts while the other lives, so that no other position matters.
std::vector<LiveRange> on_a_clock_of_starts(const std::vector<LiveRange>& ranges) {
  std::vector<int> starts;
  starts.reserve(ranges.size());
  for (const LiveRange& range : ranges) starts.push_back(range.first);
  std::sort(starts.begin(), starts.end());
  starts.erase(std::unique(starts.begin(), starts.end()), starts.end());
  const auto last_tick_until = [&](int position) {
    return static_cast<int>(std::upper_bound(starts.begin(), starts.end(), position) -
                            starts.begin()) -
           1;
  };
  std::vector<LiveRange> result = ranges;
  for (LiveRange& range : result) {
    range.first = last_tick_until(range.first);
    range.last = last_tick_until(range.last);
  }
  return result;
}

/// A set of ticks that is asked about whole spans of them.
class Ticks {
 public:
  explicit Ticks(int num_ticks) : words_(static_cast<std::size_t>(num_ticks) / kBits + 1, 0) {}

  [[nodiscard]] bool any(int first, int last) const {
    const std::size_t begin = word_of(first);
    const std::size_t end = word_of(last);
    if (begin == end) return (words_[begin] & from(first) & until(last)) != 0;
    if ((words_[begin] & from(first)) != 0 || (words_[end] & until(last)) != 0) return true;
    for (std::size_t w = begin + 1; w < end; ++w) {
      if (words_[w] != 0) return true;
    }
    return false;
  }

  void add(int first, int last) {
    const std::size_t begin = word_of(first);
    const std::size_t end = word_of(last);
    for (std::size_t w = begin; w <= end; ++w) {
      words_[w] |= (w == begin ? from(first) : kAll) & (w == end ? until(last) : kAll);
    }
  }

 private:
  static constexpr std::size_t kBits = 64;
  static constexpr std::uint64_t kAll = ~std::uint64_t{0};
  static std::size_t word_of(int tick) { return static_cast<std::size_t>(tick) / kBits; }
  static std::uint64_t from(int tick) { return kAll << (static_cast<std::size_t>(tick) % kBits); }
  static std::uint64_t until(int tick) {
    return kAll >> (kBits - 1 - static_cast<std::size_t>(tick) % kBits);
  }

  std::vector<std::uint64_t> words_;
};

/// The ranges placed so far. Those of the same offset and size share a shelf, of which a schedule
/// needs few however many micro-batches it has.
class Shelves {
 public:
  explicit Shelves(int num_ticks) : num_ticks_(num_ticks) {}

  /// The lowest offset that is free during the whole life of `range`. Counts its steps.
  [[nodiscard]] std::int64_t lowest_free(const LiveRange& range, std::int64_t& num_steps) const {
    std::int64_t lowest = 0;
    for (const Shelf& shelf : shelves_) {
      ++num_steps;
      if (shelf.offset >= lowest + range.bytes) break;
      const std::int64_t end = shelf.offset + shelf.bytes;
      if (end > lowest && shelf.taken.any(range.first, range.last)) lowest = end;
    }
    return lowest;
  }

  void insert(const LiveRange& range, std::int64_t offset) {
    auto shelf =
        std::lower_bound(shelves_.begin(), shelves_.end(), std::pair{offset, range.bytes},
                         [](const Shelf& a, const std::pair<std::int64_t, std::int64_t>& b) {
                           return std::pair{a.offset, a.bytes} < b;
                         });
    if (shelf == shelves_.end() || shelf->offset != offset || shelf->bytes != range.bytes) {
      shelf = shelves_.insert(shelf, {offset, range.bytes, Ticks(num_ticks_)});
    }
    shelf->taken.add(range.first, range.last);
  }

 private:
  struct Shelf {
    std::int64_t offset;
    std::int64_t bytes;
    Ticks taken;
  };

  int num_ticks_;
  std::vector<Shelf> shelves_;  // by offset
};

/// Places the ranges one by one, each at the lowest offset that is free during its whole life.
Packing place_in_order(const std::vector<LiveRange>& ranges, const Order& order) {
  int num_ticks = 0;
  for (const LiveRange& range : ranges) num_ticks = std::max(num_ticks, range.last + 1);
  Packing packing{0, std::vector<std::int64_t>(ranges.size(), 0), 0};
  Shelves shelves(num_ticks);
  for (const std::size_t index : order) {
    const std::int64_t offset = shelves.lowest_free(ranges[index], packing.num_steps);
    packing.offsets[index] = offset;
    packing.top = std::max(packing.top, offset + ranges[index].bytes);
    shelves.insert(ranges[index], offset);
  }
  return packing;
}

/// The first position at which the most bytes live, and how many.
struct Peak {
  int position = 0;
  std::int64_t bytes = 0;
};

Peak find_peak(const std::vector<LiveRange>& ranges) {
  std::vector<std::pair<int, std::int64_t>> changes;
  changes.reserve(2 * ranges.size());
  for (const LiveRange& range : ranges) {
    changes.emplace_back(range.first, range.bytes);
    changes.emplace_back(range.last + 1, -range.bytes);
  }
  // Negative changes come first at equal positions: what ended before makes room.
  std::sort(changes.begin(), changes.end());
  std::int64_t live = 0;
  Peak peak;
  for (const auto& [position, bytes] : changes) {
    live += bytes;
    if (live > peak.bytes) peak = {position, live};
  }
  return peak;
}

using Key = std::array<std::int64_t, 3>;  // smallest first
using KeyOf = Key (*)(const LiveRange& range, int peak_position);

std::int64_t length_of(const LiveRange& range) {
  return std::int64_t{range.last} - range.first + 1;
}

/// Positions between the peak and the range, 0 where it lives at the peak.
std::int64_t distance(const LiveRange& range, int peak_position) {
  return std::max({0, peak_position - range.last, range.first - peak_position});
}

/// Orders of placing that do well on schedules, those that are often best first. What lives at the
/// peak must lie without a gap: three orders begin there and go on in both directions of time.
constexpr std::array<KeyOf, 8> kStartingOrders = {
    [](const LiveRange& r, int peak) -> Key {
      return {-r.bytes, distance(r, peak), -length_of(r)};
    },
    [](const LiveRange& r, int peak) -> Key {
      return {distance(r, peak), -r.bytes};
    },
    [](const LiveRange& r, int /*peak*/) -> Key {
      return {r.bytes, -r.last};
    },
    [](const LiveRange& r, int peak) -> Key {
      return {distance(r, peak), -length_of(r)};
    },
    [](const LiveRange& r, int /*peak*/) -> Key { return {-r.last}; },
    [](const LiveRange& r, int /*peak*/) -> Key {
      return {-r.bytes, -r.last};
    },
    [](const LiveRange& r, int /*peak*/) -> Key {
      return {-r.bytes, r.first};
    },
    [](const LiveRange& r, int /*peak*/) -> Key { return {r.first}; },
};

Order sorted_by(KeyOf key_of, const std::vector<LiveRange>& ranges, int peak_position) {
  std::vector<Key> keys;
  keys.reserve(ranges.size());
  for (const LiveRange& range : ranges) keys.push_back(key_of(range, peak_position));
  Order order(ranges.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return keys[a] < keys[b]; });
  return order;
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
  best.num_steps = num_steps;
  return best;
}

}  // namespace

std::int64_t peak_of(const std::vector<LiveRange>& ranges) {
  return find_peak(ranges).bytes;
}

std::int64_t pack(std::vector<LiveRange>& ranges) {
  const std::vector<LiveRange> timed = on_a_clock_of_starts(ranges);
  const Peak peak = find_peak(timed);
  Packing best;
  std::int64_t num_steps = 0;
  for (std::size_t k = 0; k < kStartingOrders.size(); ++k) {
    if (num_steps >= kSteps && best.top - peak.bytes <= peak.bytes / kCloseEnough) break;
    Packing packing =
        place_and_repair(timed, peak.bytes, sorted_by(kStartingOrders[k], timed, peak.position));
    num_steps += packing.num_steps;
    if (packing.top < best.top) best = std::move(packing);
    if (best.top == peak.bytes) break;
  }
  for (std::size_t i = 0; i < ranges.size(); ++i) ranges[i].offset = best.offsets[i];
  return best.top;
}

}  // namespace halfpipe::schedule
