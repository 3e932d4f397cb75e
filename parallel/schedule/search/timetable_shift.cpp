// SPDX-License-Identifier: Apache-2.0
// Timetable::shift: a change of one start is followed to the passes that it makes start at another
// time, in the order of their old starts, and no further.
#include <algorithm>
#include <limits>

#include "parallel/schedule/search/timetable.h"

namespace halfpipe::schedule {
namespace {

constexpr int kNoneForced = -1;
constexpr int kNoneForcedBack = std::numeric_limits<int>::max();
// A shift makes the mean over ranks better by less than this, in mean passes; hardly ever by more.
constexpr double kMostGainOfMean = 0.5;

/// Moves one element; those between `from` and `to` close up.
template <typename Iterator>
void move_within(Iterator begin, int from, int to) {
  if (from < to) {
    std::rotate(begin + from, begin + from + 1, begin + to + 1);
  } else {
    std::rotate(begin + to, begin + from, begin + from + 1);
  }
}

}  // namespace

bool Timetable::shift(int rank, int from, int to, double ceiling) {
  const auto on = static_cast<std::size_t>(rank);
  std::vector<RowOp>& order = orders_[on];
  if (!keeps_order(order, from, to) || !keeps_memory(on, from, to)) return false;
  if (!tails_known_) set_all_tails();
  const int first = std::min(from, to);
  const int last = std::max(from, to);
  move_within(order.begin(), from, to);
  set_prefixes(on, first, last);
  const double least_mean = cost_.mean - kMostGainOfMean * instance_.mean_pass_seconds;
  const double most_worst = ceiling - TimetableCost::kMeanWeight * least_mean;
  if (estimate(on, first, last) <= most_worst && follow_changes(on, first, last, most_worst)) {
    const TimetableCost cost = sum_up</*kTrial=*/true>();
    if (cost.weighted() <= ceiling && runs_to_its_end()) {
      cost_ = cost;
      take_over(on, first, last);
      return true;
    }
  }
  move_within(order.begin(), to, from);
  set_prefixes(on, first, last);
  return false;
}

/// A circle of passes that take time makes the cost grow for ever, which follow_changes meets. One
/// of passes that take none changes nothing, so it has to be looked for.
bool Timetable::runs_to_its_end() {
  if (!instance_.has_passes_of_no_time) return true;
  kept_starts_ = start_of_;
  const bool runs = time_all();
  start_of_.swap(kept_starts_);
  return runs;
}

/// The longest chain through the passes whose order has changed, by what is known of the passes
/// around them (Balas and Vazacopoulos 1998 estimate moves in job shops like this). Nearly always
/// exact or too low; where a pass from outside gets an earlier start itself, it may be too high.
double Timetable::estimate(std::size_t rank, int first, int last) {
  const std::vector<RowOp>& order = orders_[rank];
  tried_starts_.clear();
  double free = first == 0 ? 0.0 : end_of(order[static_cast<std::size_t>(first) - 1]);
  for (int position = first; position <= last; ++position) {
    const RowOp op = order[static_cast<std::size_t>(position)];
    const Row& row = instance_.row(op.row);
    if (row.input_row != kNoRow) {
      free = std::max(free, end_of({row.input_row, op.micro_batch}) + row.input_delay);
    }
    tried_starts_.push_back(free);
    free += row.seconds;
  }
  double behind = tail_behind(rank, static_cast<std::size_t>(last));
  double longest = free + behind;
  for (int position = last; position >= first; --position) {
    const RowOp op = order[static_cast<std::size_t>(position)];
    const Row& row = instance_.row(op.row);
    if (row.consumer_row != kNoRow) {
      const RowOp consumer{row.consumer_row, op.micro_batch};
      behind = std::max(behind, instance_.row(row.consumer_row).input_delay +
                                    tail_of_[instance_.index_of(consumer)]);
    }
    behind += row.seconds;
    longest = std::max(longest, tried_starts_[static_cast<std::size_t>(position - first)] + behind);
  }
  return longest;
}

/// False when the cost is sure to be above most_worst: a circle of waits is, in the end.
bool Timetable::follow_changes(std::size_t rank, int first, int last, double most_worst) {
  ++trial_;
  changed_.clear();
  changes_.clear();
  // The passes whose order has changed, and the one behind them, look at their starts in any case.
  const int behind = std::min(last + 1, static_cast<int>(orders_[rank].size()) - 1);
  if (!follow({0.0, rank, first}, behind, most_worst)) return false;
  // Circles of passes that take no time would go on for ever.
  std::size_t left = 8 * instance_.num_ops();
  while (!changes_.empty()) {
    if (--left == 0 || !follow(take_change(), kNoneForced, most_worst)) return false;
  }
  return true;
}

/// From a place on, while starts change (as far as `forced_until` whether they do or not) and no
/// other change is due before.
bool Timetable::follow(Change change, int forced_until, double most_worst) {
  const std::size_t rank = change.rank;
  const std::vector<RowOp>& order = orders_[rank];
  double free =
      change.position == 0 ? 0.0 : trial_end(order[static_cast<std::size_t>(change.position) - 1]);
  for (int position = change.position; position < static_cast<int>(order.size()); ++position) {
    const auto at = static_cast<std::size_t>(position);
    const RowOp op = order[at];
    const Row& row = instance_.row(op.row);
    const std::size_t index = instance_.index_of(op);
    if (position > forced_until && position > change.position && !changes_.empty() &&
        changes_.front().key < start_of_[index]) {
      add_change({start_of_[index], rank, position});
      return true;
    }
    double start = free;
    if (row.input_row != kNoRow) {
      start = std::max(start, trial_end({row.input_row, op.micro_batch}) + row.input_delay);
    }
    const bool same = start == trial_start(index);
    free = start + row.seconds;
    if (same) {
      if (position >= forced_until) return true;
      continue;
    }
    if (stamp_[index] != trial_) changed_.push_back(index);
    stamp_[index] = trial_;
    trial_start_of_[index] = start;
    // The order behind a pass that changes is as it was, so its tail holds; in the window it does
    // not.
    if (position > forced_until && start + tail_of_[index] > most_worst) return false;
    if (row.consumer_row == kNoRow) continue;
    const std::size_t consumer = instance_.index_of({row.consumer_row, op.micro_batch});
    add_change(
        {start_of_[consumer], static_cast<std::size_t>(row.consumer_rank), position_of_[consumer]});
  }
  return true;
}

namespace {

bool later(const Timetable::Change& one, const Timetable::Change& other) {
  return one.key > other.key;
}

}  // namespace

void Timetable::add_change(Change change) {
  changes_.push_back(change);
  std::push_heap(changes_.begin(), changes_.end(), later);
}

Timetable::Change Timetable::take_change() {
  std::pop_heap(changes_.begin(), changes_.end(), later);
  const Change change = changes_.back();
  changes_.pop_back();
  return change;
}

/// Makes the tried times the present ones, and follows tails as starts were: from the last to the
/// first.
void Timetable::take_over(std::size_t rank, int first, int last) {
  for (const std::size_t index : changed_) start_of_[index] = trial_start_of_[index];
  changes_.clear();
  for (std::size_t other = 0; other < orders_.size(); ++other) {
    const double clock_start = clock_start_of<false>(other);
    if (clock_start == clock_start_[other]) continue;
    clock_start_[other] = clock_start;
    const auto end = static_cast<int>(orders_[other].size()) - 1;
    add_change({-start_of(orders_[other].back()), other, end});
  }
  follow_tails({0.0, rank, last}, std::max(first - 1, 0));
  while (!changes_.empty()) follow_tails(take_change(), kNoneForcedBack);
}

void Timetable::follow_tails(Change change, int forced_until) {
  const std::vector<RowOp>& order = orders_[change.rank];
  for (int position = change.position; position >= 0; --position) {
    const auto at = static_cast<std::size_t>(position);
    const RowOp op = order[at];
    const Row& row = instance_.row(op.row);
    const std::size_t index = instance_.index_of(op);
    if (position < forced_until && position < change.position && !changes_.empty() &&
        changes_.front().key < -start_of_[index]) {
      add_change({-start_of_[index], change.rank, position});
      return;
    }
    double behind = tail_behind(change.rank, at);
    if (row.consumer_row != kNoRow) {
      const std::size_t consumer = instance_.index_of({row.consumer_row, op.micro_batch});
      behind = std::max(behind, instance_.row(row.consumer_row).input_delay + tail_of_[consumer]);
    }
    const double tail = row.seconds + behind;
    if (tail == tail_of_[index]) {
      if (position <= forced_until) return;
      continue;
    }
    tail_of_[index] = tail;
    if (row.input_row == kNoRow) continue;
    const std::size_t producer = instance_.index_of({row.input_row, op.micro_batch});
    add_change({-start_of_[producer], static_cast<std::size_t>(instance_.row(row.input_row).rank),
                position_of_[producer]});
  }
}

bool Timetable::keeps_order(const std::vector<RowOp>& order, int from, int to) const {
  const RowOp moved = order[static_cast<std::size_t>(from)];
  const Row& row = instance_.row(moved.row);
  const int step = to > from ? 1 : -1;
  for (int position = from + step; position != to + step; position += step) {
    const RowOp other = order[static_cast<std::size_t>(position)];
    if (other.row == moved.row) return false;
    if (other.micro_batch != moved.micro_batch) continue;
    if (instance_.row(other.row).stage == row.stage) return false;
    if (other.row == row.input_row || other.row == row.consumer_row) return false;
  }
  return true;
}

bool Timetable::keeps_memory(std::size_t rank, int from, int to) const {
  const std::vector<RowOp>& order = orders_[rank];
  const std::int64_t limit = instance_.memory_limit[rank];
  const Row& moved = instance_.row(order[static_cast<std::size_t>(from)].row);
  const bool later = to > from;
  std::int64_t live = live_before_[rank][static_cast<std::size_t>(std::min(from, to))];
  if (!later) {
    if (live + moved.rise > limit) return false;
    live += moved.net;
  }
  const int begin = later ? from + 1 : to;
  const int end = later ? to + 1 : from;
  for (int position = begin; position < end; ++position) {
    const Row& row = instance_.row(order[static_cast<std::size_t>(position)].row);
    if (live + row.rise > limit) return false;
    live += row.net;
  }
  return !later || live + moved.rise <= limit;
}

}  // namespace halfpipe::schedule
