// SPDX-License-Identifier: Apache-2.0
// Orders with their start times, which shifts single passes and times only what a shift can change:
// the inner loop of every search over orders.
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
  [[nodiscard]] const std::vector<double>& starts(int rank) const {
    return starts_[static_cast<std::size_t>(rank)];
  }

  /// Moves the pass at position `from` of a rank to position `to` if that keeps micro-batch order
  /// and the rank's memory limit, waits for nothing in a circle and costs no more than `ceiling`
  /// (weighted). Returns whether it did.
  bool shift(int rank, int from, int to, double ceiling);

  /// A pass and the one that it waited for, back to the start of the step: the passes whose delay
  /// is the cost. From the worst rank's last pass on; places as (rank, position).
  struct Place {
    int rank;
    int position;
  };
  void trace_critical(std::vector<Place>& path) const;

 private:
  [[nodiscard]] bool keeps_order(const std::vector<RowOp>& order, int from, int to) const;
  [[nodiscard]] bool keeps_memory(std::size_t rank, int from, int to) const;
  bool time_from(double since, double ceiling);
  bool advance(std::size_t rank, double most_worst);
  void commit();
  void set_prefixes(std::size_t rank, int first, int last);
  [[nodiscard]] double start_of_step(double first_start) const;
  [[nodiscard]] TimetableCost trial_cost() const;
  /// When the op was or will be over, in the times that are being worked out; negative: not known.
  [[nodiscard]] double end_in_trial(RowOp op) const;

  const Instance& instance_;
  RowOrders orders_;
  TimetableCost cost_;
  // [rank][position]
  std::vector<std::vector<double>> starts_;
  std::vector<std::vector<double>> work_before_;        // seconds of passes before it
  std::vector<std::vector<std::int64_t>> live_before_;  // bytes
  std::vector<double> start_of_;                        // [op]
  std::vector<int> position_of_;                        // [op]
  // The trial: times of the passes that start at or after since_.
  double since_ = 0.0;
  std::uint32_t trial_ = 0;
  std::vector<double> trial_start_of_;      // [op], where stamp_ is trial_
  std::vector<std::uint32_t> stamp_;        // [op]
  std::vector<std::size_t> first_changed_;  // [rank]
  std::vector<std::size_t> next_;           // [rank]
  std::vector<double> free_;                // [rank]
  std::vector<double> step_start_;          // [rank]
  std::vector<double> idle_;                // [rank]
  std::vector<std::size_t> waits_for_;      // [rank]: op whose end it waits for
  std::vector<std::size_t> runnable_;
};

}  // namespace halfpipe::schedule
