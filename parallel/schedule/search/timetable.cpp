// SPDX-License-Identifier: Apache-2.0
#include "parallel/schedule/search/timetable.h"

#include <algorithm>
#include <limits>

namespace halfpipe::schedule {
namespace {

constexpr double kUnknown = -1.0;
constexpr double kAlways = -std::numeric_limits<double>::infinity();
constexpr std::size_t kNothing = std::numeric_limits<std::size_t>::max();

/// The two that a rotation moves, as it moves them: positions between `from` and `to` close up.
template <typename Iterator>
void move_within(Iterator begin, int from, int to) {
  if (from < to) {
    std::rotate(begin + from, begin + from + 1, begin + to + 1);
  } else {
    std::rotate(begin + to, begin + from, begin + from + 1);
  }
}

}  // namespace

Timetable::Timetable(const Instance& instance) : instance_(instance) {
  const auto ranks = static_cast<std::size_t>(instance.num_ranks);
  starts_.resize(ranks);
  work_before_.resize(ranks);
  live_before_.resize(ranks);
  start_of_.resize(instance.num_ops());
  position_of_.resize(instance.num_ops());
  trial_start_of_.resize(instance.num_ops());
  stamp_.resize(instance.num_ops());
  first_changed_.resize(ranks);
  next_.resize(ranks);
  free_.resize(ranks);
  step_start_.resize(ranks);
  idle_.resize(ranks);
  waits_for_.resize(ranks);
}

bool Timetable::load(const RowOrders& orders) {
  if (!fits_memory(instance_, orders)) return false;
  orders_ = orders;
  for (std::size_t rank = 0; rank < orders_.size(); ++rank) {
    const std::size_t size = orders_[rank].size();
    starts_[rank].resize(size);
    work_before_[rank].resize(size + 1);
    live_before_[rank].resize(size + 1);
    work_before_[rank][0] = 0.0;
    live_before_[rank][0] = 0;
    set_prefixes(rank, 0, static_cast<int>(size) - 1);
  }
  if (!time_from(kAlways, std::numeric_limits<double>::infinity())) return false;
  commit();
  return true;
}

void Timetable::set_prefixes(std::size_t rank, int first, int last) {
  for (int position = first; position <= last; ++position) {
    const auto at = static_cast<std::size_t>(position);
    const RowOp op = orders_[rank][at];
    const Row& row = instance_.row(op.row);
    position_of_[instance_.index_of(op)] = position;
    work_before_[rank][at + 1] = work_before_[rank][at] + row.seconds;
    live_before_[rank][at + 1] = live_before_[rank][at] + row.net;
  }
}

/// Where the clock of a rank's cost begins.
double Timetable::start_of_step(double first_start) const {
  return instance_.objective == Objective::kSpan ? first_start : 0.0;
}

double Timetable::end_in_trial(RowOp op) const {
  const std::size_t index = instance_.index_of(op);
  if (stamp_[index] == trial_) return trial_start_of_[index] + instance_.row(op.row).seconds;
  // Passes from since_ on are worked out anew; those before it stay.
  if (start_of_[index] < since_) return start_of_[index] + instance_.row(op.row).seconds;
  return kUnknown;
}

/// Works out the start of every pass that started at or after `since` in the present times (all
/// passes for kAlways). False when a circle or a cost above the ceiling is met.
bool Timetable::time_from(double since, double ceiling) {
  since_ = since;
  ++trial_;
  const std::size_t ranks = orders_.size();
  double sum_of_least = 0.0;
  runnable_.clear();
  for (std::size_t rank = 0; rank < ranks; ++rank) {
    const std::vector<double>& starts = starts_[rank];
    const std::size_t first =
        since == kAlways
            ? 0
            : static_cast<std::size_t>(std::lower_bound(starts.begin(), starts.end(), since) -
                                       starts.begin());
    first_changed_[rank] = first;
    next_[rank] = first;
    waits_for_[rank] = kNothing;
    idle_[rank] = 0.0;
    free_[rank] = 0.0;
    step_start_[rank] = kUnknown;
    if (first > 0) {
      const RowOp last_kept = orders_[rank][first - 1];
      free_[rank] = starts[first - 1] + instance_.row(last_kept.row).seconds;
      step_start_[rank] = start_of_step(starts[0]);
      idle_[rank] = free_[rank] - step_start_[rank] - work_before_[rank][first];
    }
    sum_of_least += instance_.rank_seconds[rank] * instance_.num_micro_batches + idle_[rank];
    runnable_.push_back(rank);
  }
  const double most_worst =
      ceiling - TimetableCost::kMeanWeight * sum_of_least / static_cast<double>(ranks);
  while (!runnable_.empty()) {
    const std::size_t rank = runnable_.back();
    runnable_.pop_back();
    if (!advance(rank, most_worst)) return false;
  }
  for (std::size_t rank = 0; rank < ranks; ++rank) {
    if (next_[rank] != orders_[rank].size()) return false;
  }
  return true;
}

bool Timetable::advance(std::size_t rank, double most_worst) {
  const std::vector<RowOp>& order = orders_[rank];
  const double work = instance_.rank_seconds[rank] * instance_.num_micro_batches;
  double free = free_[rank];
  double idle = idle_[rank];
  std::size_t next = next_[rank];
  bool within = true;
  waits_for_[rank] = kNothing;
  for (; next < order.size(); ++next) {
    const RowOp op = order[next];
    const Row& row = instance_.row(op.row);
    double start = free;
    if (row.input_row != kNoRow) {
      const RowOp input{row.input_row, op.micro_batch};
      const double input_end = end_in_trial(input);
      if (input_end == kUnknown) {
        waits_for_[rank] = instance_.index_of(input);
        break;
      }
      start = std::max(start, input_end + row.input_delay);
    }
    if (start > free || next == 0) {
      if (next == 0) {
        step_start_[rank] = start_of_step(start);
        idle = start - step_start_[rank];
      } else {
        idle += start - free;
      }
      if (work + idle > most_worst) {
        within = false;
        break;
      }
    }
    const std::size_t index = instance_.index_of(op);
    trial_start_of_[index] = start;
    stamp_[index] = trial_;
    free = start + row.seconds;
    if (row.consumer_row != kNoRow && row.consumer_rank != static_cast<int>(rank) &&
        waits_for_[static_cast<std::size_t>(row.consumer_rank)] == index) {
      runnable_.push_back(static_cast<std::size_t>(row.consumer_rank));
    }
  }
  free_[rank] = free;
  idle_[rank] = idle;
  next_[rank] = next;
  return within;
}

TimetableCost Timetable::trial_cost() const {
  TimetableCost cost;
  for (std::size_t rank = 0; rank < orders_.size(); ++rank) {
    const double span = free_[rank] - step_start_[rank];
    cost.worst = std::max(cost.worst, span);
    cost.mean += span / static_cast<double>(orders_.size());
  }
  return cost;
}

void Timetable::commit() {
  cost_ = trial_cost();
  for (std::size_t rank = 0; rank < orders_.size(); ++rank) {
    for (std::size_t at = first_changed_[rank]; at < orders_[rank].size(); ++at) {
      const std::size_t index = instance_.index_of(orders_[rank][at]);
      start_of_[index] = trial_start_of_[index];
      starts_[rank][at] = trial_start_of_[index];
    }
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
  if (to < from) {  // earlier: it and all that it passes by must fit behind it
    std::int64_t live = live_before_[rank][static_cast<std::size_t>(to)];
    if (live + moved.rise > limit) return false;
    live += moved.net;
    if (moved.net <= 0) return true;
    for (int position = to; position < from; ++position) {
      const Row& row = instance_.row(order[static_cast<std::size_t>(position)].row);
      if (live + row.rise > limit) return false;
      live += row.net;
    }
    return true;
  }
  std::int64_t live = live_before_[rank][static_cast<std::size_t>(from)];
  for (int position = from + 1; position <= to; ++position) {
    const Row& row = instance_.row(order[static_cast<std::size_t>(position)].row);
    if (live + row.rise > limit) return false;
    live += row.net;
  }
  return live + moved.rise <= limit;
}

bool Timetable::shift(int rank, int from, int to, double ceiling) {
  const auto on = static_cast<std::size_t>(rank);
  std::vector<RowOp>& order = orders_[on];
  if (!keeps_order(order, from, to) || !keeps_memory(on, from, to)) return false;
  const auto first = static_cast<std::size_t>(std::min(from, to));
  // A pass that moves to `first` may start as soon as the rank is free there.
  const double since =
      first == 0 ? kAlways : starts_[on][first - 1] + instance_.row(order[first - 1].row).seconds;
  move_within(order.begin(), from, to);
  if (time_from(since, ceiling)) {
    const TimetableCost cost = trial_cost();
    if (cost.weighted() <= ceiling) {
      commit();
      set_prefixes(on, static_cast<int>(first), std::max(from, to));
      return true;
    }
  }
  move_within(order.begin(), to, from);
  return false;
}

void Timetable::trace_critical(std::vector<Place>& path) const {
  path.clear();
  std::size_t worst = 0;
  double longest = -1.0;
  for (std::size_t rank = 0; rank < orders_.size(); ++rank) {
    if (orders_[rank].empty()) continue;
    const double end = starts_[rank].back() + instance_.row(orders_[rank].back().row).seconds;
    const double span = end - start_of_step(starts_[rank].front());
    if (span > longest) {
      longest = span;
      worst = rank;
    }
  }
  std::size_t rank = worst;
  std::size_t at = orders_[rank].size();
  while (at > 0) {
    const RowOp op = orders_[rank][at - 1];
    path.push_back({static_cast<int>(rank), static_cast<int>(at - 1)});
    const Row& row = instance_.row(op.row);
    const double start = starts_[rank][at - 1];
    const double rank_was_free =
        at == 1 ? kUnknown
                : starts_[rank][at - 2] + instance_.row(orders_[rank][at - 2].row).seconds;
    if (row.input_row == kNoRow || rank_was_free >= start) {
      --at;
      continue;
    }
    const RowOp input{row.input_row, op.micro_batch};
    rank = static_cast<std::size_t>(instance_.row(row.input_row).rank);
    at = static_cast<std::size_t>(position_of_[instance_.index_of(input)]) + 1;
  }
}

}  // namespace halfpipe::schedule
