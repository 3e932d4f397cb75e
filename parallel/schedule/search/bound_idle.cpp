// SPDX-License-Identifier: Apache-2.0
#include "parallel/schedule/search/bound_idle.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>

namespace halfpipe::schedule {
namespace {

/// Of the work of a rank: times closer than this are one moment.
constexpr double kTolerance = 1e-9;

/// Passes of one phase that a moment allows: `whole` have had time to end, and the next has had
/// time for a part.
struct Possible {
  int whole = 0;
  double part = 0.0;  // 0 .. 1
  [[nodiscard]] double of(int micro_batch) const {
    if (micro_batch < whole) return 1.0;
    return micro_batch == whole ? part : 0.0;
  }
};

/// A number of micro-batches that a stage may have taken in, each for `bytes` of memory and
/// `seconds` of work.
struct Offer {
  double count;
  double bytes;
  double seconds;
};

/// The most work that a rank can have done at a moment that only moves forward.
class WorkPossible {
 public:
  WorkPossible(const Direction& direction, const Heads& heads, int rank, double tolerance)
      : direction_(direction),
        heads_(heads),
        rank_(rank),
        hosted_(direction.hosted(rank)),
        possible_(hosted_.size()),
        tolerance_(tolerance) {}

  double at(double time) {
    offers_.clear();
    room_ = static_cast<double>(direction_.memory_limit(rank_));
    double seconds = 0.0;
    for (std::size_t i = 0; i < hosted_.size(); ++i) {
      for (int phase = 0; phase < 3; ++phase) move({phase, hosted_[i]}, i, time);
      seconds += offer(i);
    }
    std::sort(offers_.begin(), offers_.end(), [](const Offer& a, const Offer& b) {
      return a.seconds * b.bytes > b.seconds * a.bytes;
    });
    for (const Offer& offer : offers_) {
      const double taken = std::clamp(room_ / offer.bytes, 0.0, offer.count);
      seconds += taken * offer.seconds;
      room_ -= taken * offer.bytes;
    }
    return seconds;
  }

 private:
  void move(PhaseOfStage op, std::size_t i, double time) {
    const std::vector<double>& starts = heads_.of(op);
    const double length = direction_.stage(op.stage).seconds[static_cast<std::size_t>(op.phase)];
    Possible& possible = possible_[i][static_cast<std::size_t>(op.phase)];
    const auto known = static_cast<int>(starts.size());
    while (possible.whole < known &&
           starts[static_cast<std::size_t>(possible.whole)] + length <= time + tolerance_) {
      ++possible.whole;
    }
    possible.part = 0.0;
    if (possible.whole < known && length > 0.0) {
      const double done = time - starts[static_cast<std::size_t>(possible.whole)];
      possible.part = std::clamp(done / length, 0.0, 1.0);
    }
  }

  /// Work of the micro-batch's three phases on hosted stage i.
  [[nodiscard]] double seconds_of(std::size_t i, int micro_batch) const {
    const TimedStage& cost = direction_.stage(hosted_[i]);
    double seconds = 0.0;
    for (std::size_t phase = 0; phase < 3; ++phase) {
      seconds += possible_[i][phase].of(micro_batch) * cost.seconds[phase];
    }
    return seconds;
  }

  /// Returns the work at once if it needs no memory.
  double add_offer(int count, double bytes, double seconds) {
    if (bytes == 0.0) return count * seconds;
    if (seconds > 0.0) offers_.push_back({static_cast<double>(count), bytes, seconds});
    return 0.0;
  }

  /// Lists what hosted stage i can do for memory; returns the work that it can do without, seconds.
  double offer(std::size_t i) {
    const TimedStage& cost = direction_.stage(hosted_[i]);
    const std::array<Possible, 3>& possible = possible_[i];
    const auto after_first = static_cast<double>(cost.bytes_after_first());
    const auto after_second = std::min(after_first, static_cast<double>(cost.bytes_after_second()));
    const int through = possible[2].whole;
    double seconds = through * (cost.seconds[0] + cost.seconds[1] + cost.seconds[2]);
    int next = through;
    if (through == 0 && direction_.keeps_room_for_first(rank_)) {
      room_ -= possible[1].whole > 0 ? after_second : after_first;
      seconds += seconds_of(i, 0);
      next = 1;
    }
    const int seconds_end = possible[1].whole;
    const int firsts_end = possible[0].whole;
    if (next == through) {  // its third phase may be partly done
      seconds += add_offer(1, seconds_end > next ? after_second : after_first, seconds_of(i, next));
      ++next;
    }
    if (next < seconds_end) {
      seconds += add_offer(seconds_end - next, after_second, cost.seconds[0] + cost.seconds[1]);
      next = seconds_end;
    }
    if (next == seconds_end) {  // its second phase may be partly done
      seconds += add_offer(1, after_first, seconds_of(i, next));
      ++next;
    }
    if (next < firsts_end) {
      seconds += add_offer(firsts_end - next, after_first, cost.seconds[0]);
      next = firsts_end;
    }
    if (next == firsts_end) seconds += add_offer(1, after_first, seconds_of(i, next));
    return seconds;
  }

  const Direction& direction_;
  const Heads& heads_;
  int rank_;
  const std::vector<int>& hosted_;
  std::vector<std::array<Possible, 3>> possible_;  // [hosted]
  double tolerance_;
  std::vector<Offer> offers_;
  double room_ = 0.0;  // bytes
};

/// Heads of all passes of the rank, ascending.
std::vector<double> moments(const Direction& direction, const Heads& heads, int rank) {
  std::vector<double> times;
  for (const int stage : direction.hosted(rank)) {
    for (int phase = 0; phase < 3; ++phase) {
      const std::vector<double>& starts = heads.of({phase, stage});
      times.insert(times.end(), starts.begin(), starts.end());
    }
  }
  std::sort(times.begin(), times.end());
  return times;
}

}  // namespace

std::vector<ForcedIdle> forced_idle(const Direction& direction,
                                    const Heads& heads,
                                    int rank,
                                    double clock_start) {
  const double tolerance = kTolerance * direction.work(rank);
  WorkPossible work(direction, heads, rank, tolerance);
  std::vector<ForcedIdle> idle{{0.0, 0.0}};
  double last = -std::numeric_limits<double>::infinity();
  for (const double time : moments(direction, heads, rank)) {
    if (time <= last + tolerance) continue;
    last = time;
    const double seconds = time - clock_start;
    if (seconds <= 0.0) continue;
    idle.push_back({seconds, std::max(idle.back().idle, seconds - work.at(time))});
  }
  return idle;
}

double time_with_idle(const std::vector<ForcedIdle>& front,
                      const std::vector<ForcedIdle>& back,
                      double work) {
  // Rounding must not leave a crumb of work between two stretches that do fill the whole.
  const double whole = work - kTolerance * work;
  double most = 0.0;
  std::size_t j = back.size();
  for (const ForcedIdle& head : front) {
    const double done_before = head.seconds - head.idle;
    while (j > 0 && done_before + (back[j - 1].seconds - back[j - 1].idle) >= whole) --j;
    if (j == 0) break;
    most = std::max(most, head.idle + back[j - 1].idle);
  }
  return work + most;
}

}  // namespace halfpipe::schedule
