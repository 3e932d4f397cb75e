// SPDX-License-Identifier: Apache-2.0
// Orders with their start times, which shifts single passes and works out anew only the times that
// change: the inner loop of every search over orders.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "parallel/schedule/search/instance.h"

namespace halfpipe::schedule {

/// What a search makes small: the objective, and a little of the mean over ranks, so that work on
/// ranks that are not the worst ones counts too.
struct TimetableCost {
  double worst = 0.0;  // seconds, of Instance::objective
  double mean = 0.0;   // over ranks, seconds

  static constexpr double kMeanWeight = 0.1;  // 0.3 and more did worse
  [[nodiscard]] double weighted() const { return worst + kMeanWeight * mean; }
};

class Timetable {
 public:
  /// `instance` outlives it.
  explicit Timetable(const Instance& instance);

  /// Times these orders: every rank runs its list in order, each pass as soon as its rank is free
  /// and its input is there. False when they wait for one another in a circle, or do not fit the
  /// memory limits; the timetable is then to be loaded again.
  bool load(const RowOrders& orders);

  [[nodiscard]] const TimetableCost& cost() const { return cost_; }
  [[nodiscard]] const RowOrders& orders() const { return orders_; }
  [[nodiscard]] double start_of(RowOp op) const { return start_of_[instance_.index_of(op)]; }

  /// Moves the pass at position `from` of a rank to position `to` if that keeps micro-batch order
  /// and the rank's memory limit, waits for nothing in a circle and costs no more than `ceiling`
  /// (weighted). Returns whether it did. May decline a shift that fits the ceiling only because it
  /// makes the mean much better.
  bool shift(int rank, int from, int to, double ceiling);

  /// A pass and the one that it waited for, back to the start of the step: the passes whose delay
  /// is the cost, from the worst rank's last pass on.
  struct Place {
    int rank;
    int position;
  };
  void trace_critical(std::vector<Place>& path) const;

  struct Change {  // a pass that has to look at its start again
    double key;    // changes of smaller key are followed first
    std::size_t rank;
    int position;
  };

 private:
  // ---- whole orders: timetable.cpp ----
  bool time_all();
  bool time_rank(std::size_t rank);
  void set_all_tails();
  void set_tails_of_rank(std::size_t rank);
  void set_prefixes(std::size_t rank, int first, int last);
  [[nodiscard]] double end_of(RowOp op) const {
    return start_of(op) + instance_.row(op.row).seconds;
  }

  // ---- one shift: timetable_shift.cpp ----
  [[nodiscard]] bool keeps_order(const std::vector<RowOp>& order, int from, int to) const;
  [[nodiscard]] bool keeps_memory(std::size_t rank, int from, int to) const;
  [[nodiscard]] double estimate(std::size_t rank, int first, int last);
  [[nodiscard]] double tail_behind(std::size_t rank, std::size_t at) const;
  void take_over(std::size_t rank, int first, int last);
  void follow_tails(Change change, int forced_until);
  bool runs_to_its_end();
  bool follow_changes(std::size_t rank, int first, int last, double most_worst);
  bool follow(Change change, int forced_until, double most_worst);
  void add_change(Change change);
  Change take_change();
  [[nodiscard]] double trial_start(std::size_t index) const {
    return stamp_[index] == trial_ ? trial_start_of_[index] : start_of_[index];
  }
  [[nodiscard]] double trial_end(RowOp op) const {
    return trial_start(instance_.index_of(op)) + instance_.row(op.row).seconds;
  }
  /// When a rank's clock starts, and seconds of the objective on it; by present (kTrial false) or
  /// tried times.
  template <bool kTrial>
  [[nodiscard]] double clock_start_of(std::size_t rank) const;
  template <bool kTrial>
  [[nodiscard]] double span_of(std::size_t rank) const;
  template <bool kTrial>
  [[nodiscard]] TimetableCost sum_up() const;

  const Instance& instance_;
  RowOrders orders_;
  TimetableCost cost_;
  std::vector<std::vector<std::int64_t>> live_before_;  // [rank][position], bytes
  std::vector<double> start_of_;                        // [op]
  // [op]: from its start to the end of the step on the rank where that makes the worst cost, along
  // the longest chain of passes that wait for one another; less what that rank's clock starts at.
  // So start + tail is at most the worst cost, and is equal on critical passes.
  std::vector<double> tail_of_;
  std::vector<double> clock_start_;  // [rank], that tails are reckoned with
  bool tails_known_ = false;
  std::vector<int> position_of_;  // [op]
  // Of time_all and set_tails.
  std::vector<std::size_t> next_;       // [rank]
  std::vector<double> free_;            // [rank]
  std::vector<std::size_t> waits_for_;  // [rank]: the op whose time it needs
  std::vector<std::size_t> runnable_;   // ranks

  std::uint32_t trial_ = 0;
  std::vector<std::uint32_t> stamp_;    // [op]: trial that gave it another start
  std::vector<double> trial_start_of_;  // [op]
  std::vector<std::size_t> changed_;    // ops of this trial
  std::vector<Change> changes_;         // heap, earliest first
  std::vector<double> kept_starts_;     // [op], of runs_to_its_end
  std::vector<double> tried_starts_;    // [position in the window], of estimate
};

template <bool kTrial>
double Timetable::clock_start_of(std::size_t rank) const {
  if (instance_.objective == Objective::kMakespan) return 0.0;
  const RowOp first = orders_[rank].front();
  return kTrial ? trial_start(instance_.index_of(first)) : start_of(first);
}

template <bool kTrial>
double Timetable::span_of(std::size_t rank) const {
  const RowOp last = orders_[rank].back();
  return (kTrial ? trial_end(last) : end_of(last)) - clock_start_of<kTrial>(rank);
}

template <bool kTrial>
TimetableCost Timetable::sum_up() const {
  TimetableCost cost;
  for (std::size_t rank = 0; rank < orders_.size(); ++rank) {
    const double span = span_of<kTrial>(rank);
    if (span > cost.worst) cost.worst = span;
    cost.mean += span / static_cast<double>(orders_.size());
  }
  return cost;
}

}  // namespace halfpipe::schedule
