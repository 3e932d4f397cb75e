// SPDX-License-Identifier: Apache-2.0
#include "parallel/schedule/search/timetable.h"

#include <algorithm>
#include <limits>

namespace halfpipe::schedule {
namespace {

constexpr double kUnknown = -1.0;
constexpr double kNoTail = -std::numeric_limits<double>::infinity();
constexpr std::size_t kNothing = std::numeric_limits<std::size_t>::max();

}  // namespace

Timetable::Timetable(const Instance& instance) : instance_(instance) {
  const auto ranks = static_cast<std::size_t>(instance.num_ranks);
  live_before_.resize(ranks);
  start_of_.resize(instance.num_ops());
  tail_of_.resize(instance.num_ops());
  position_of_.resize(instance.num_ops());
  clock_start_.resize(ranks);
  next_.resize(ranks);
  free_.resize(ranks);
  waits_for_.resize(ranks);
  stamp_.resize(instance.num_ops());
  trial_start_of_.resize(instance.num_ops());
}

bool Timetable::load(const RowOrders& orders) {
  if (!fits_memory(instance_, orders)) return false;
  orders_ = orders;
  for (std::size_t rank = 0; rank < orders_.size(); ++rank) {
    const std::size_t size = orders_[rank].size();
    live_before_[rank].assign(size + 1, 0);
    set_prefixes(rank, 0, static_cast<int>(size) - 1);
  }
  if (!time_all()) return false;
  cost_ = sum_up</*kTrial=*/false>();
  tails_known_ = false;
  return true;
}

void Timetable::set_prefixes(std::size_t rank, int first, int last) {
  for (int position = first; position <= last; ++position) {
    const auto at = static_cast<std::size_t>(position);
    const RowOp op = orders_[rank][at];
    const Row& row = instance_.row(op.row);
    position_of_[instance_.index_of(op)] = position;
    live_before_[rank][at + 1] = live_before_[rank][at] + row.net;
  }
}

bool Timetable::time_all() {
  std::fill(start_of_.begin(), start_of_.end(), kUnknown);
  runnable_.clear();
  for (std::size_t rank = orders_.size(); rank > 0; --rank) {
    next_[rank - 1] = 0;
    free_[rank - 1] = 0.0;
    waits_for_[rank - 1] = kNothing;
    runnable_.push_back(rank - 1);
  }
  std::size_t num_done = 0;
  while (!runnable_.empty()) {
    const std::size_t rank = runnable_.back();
    runnable_.pop_back();
    if (time_rank(rank)) ++num_done;
  }
  return num_done == orders_.size();
}

/// Goes on with a rank's list until an input is not known yet; true when the list is done.
bool Timetable::time_rank(std::size_t rank) {
  const std::vector<RowOp>& order = orders_[rank];
  double free = free_[rank];
  for (std::size_t& next = next_[rank]; next < order.size(); ++next) {
    const RowOp op = order[next];
    const Row& row = instance_.row(op.row);
    double start = free;
    if (row.input_row != kNoRow) {
      const RowOp input{row.input_row, op.micro_batch};
      if (start_of(input) == kUnknown) {
        waits_for_[rank] = instance_.index_of(input);
        free_[rank] = free;
        return false;
      }
      start = std::max(start, end_of(input) + row.input_delay);
    }
    const std::size_t index = instance_.index_of(op);
    start_of_[index] = start;
    free = start + row.seconds;
    if (row.consumer_row == kNoRow) continue;
    const auto consumer = static_cast<std::size_t>(row.consumer_rank);
    if (consumer == rank || waits_for_[consumer] != index) continue;
    waits_for_[consumer] = kNothing;
    runnable_.push_back(consumer);
  }
  return true;
}

/// The mirror of time_all: every rank's list from its end.
void Timetable::set_all_tails() {
  std::fill(tail_of_.begin(), tail_of_.end(), kNoTail);
  runnable_.clear();
  for (std::size_t rank = 0; rank < orders_.size(); ++rank) {
    clock_start_[rank] = clock_start_of<false>(rank);
    next_[rank] = orders_[rank].size();
    waits_for_[rank] = kNothing;
    runnable_.push_back(rank);
  }
  while (!runnable_.empty()) {
    const std::size_t rank = runnable_.back();
    runnable_.pop_back();
    set_tails_of_rank(rank);
  }
  tails_known_ = true;
}

void Timetable::set_tails_of_rank(std::size_t rank) {
  const std::vector<RowOp>& order = orders_[rank];
  for (std::size_t& left = next_[rank]; left > 0; --left) {
    const RowOp op = order[left - 1];
    const Row& row = instance_.row(op.row);
    double behind = tail_behind(rank, left - 1);
    if (row.consumer_row != kNoRow) {
      const std::size_t consumer = instance_.index_of({row.consumer_row, op.micro_batch});
      if (tail_of_[consumer] == kNoTail) {
        waits_for_[rank] = consumer;
        return;
      }
      behind = std::max(behind, instance_.row(row.consumer_row).input_delay + tail_of_[consumer]);
    }
    const std::size_t index = instance_.index_of(op);
    tail_of_[index] = row.seconds + behind;
    if (row.input_row == kNoRow) continue;
    const auto producer = static_cast<std::size_t>(instance_.row(row.input_row).rank);
    if (producer == rank || waits_for_[producer] != index) continue;
    waits_for_[producer] = kNothing;
    runnable_.push_back(producer);
  }
}

/// What follows a place on the rank itself.
double Timetable::tail_behind(std::size_t rank, std::size_t at) const {
  if (at + 1 == orders_[rank].size()) return -clock_start_[rank];
  return tail_of_[instance_.index_of(orders_[rank][at + 1])];
}

void Timetable::trace_critical(std::vector<Place>& path) const {
  path.clear();
  std::size_t rank = 0;
  for (std::size_t other = 1; other < orders_.size(); ++other) {
    if (span_of<false>(other) > span_of<false>(rank)) rank = other;
  }
  std::size_t at = orders_[rank].size();
  while (at > 0) {
    const RowOp op = orders_[rank][at - 1];
    path.push_back({static_cast<int>(rank), static_cast<int>(at - 1)});
    const Row& row = instance_.row(op.row);
    const double rank_was_free = at == 1 ? kUnknown : end_of(orders_[rank][at - 2]);
    if (row.input_row == kNoRow || rank_was_free >= start_of(op)) {
      --at;
      continue;
    }
    const RowOp input{row.input_row, op.micro_batch};
    rank = static_cast<std::size_t>(instance_.row(row.input_row).rank);
    at = static_cast<std::size_t>(position_of_[instance_.index_of(input)]) + 1;
  }
}

}  // namespace halfpipe::schedule
