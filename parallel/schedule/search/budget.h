// SPDX-License-Identifier: Apache-2.0
// How long a search may take, and how it knows that its time is up.
#pragma once

#include <chrono>
#include <cstdint>

namespace halfpipe::schedule {

struct SearchBudget {
  double seconds = 1.0;
  /// When above 0: counts work instead of time, so that the same arguments give the same schedule
  /// on every machine. One is about 1 us for 1500 passes.
  std::int64_t evaluations = 0;
  std::uint64_t seed = 1;
  int num_threads = 1;
};

/// Making orders from a policy counts as this many evaluations of a shifted pass.
inline constexpr std::int64_t kEvaluationsPerPolicy = 64;

/// The part of a budget that one thread may use up: by time for all alike, by count each its own.
class BudgetShare {
 public:
  using Clock = std::chrono::steady_clock;

  BudgetShare(const SearchBudget& budget, int num_lanes, Clock::time_point start)
      : start_(start),
        seconds_(budget.seconds),
        evaluations_(budget.evaluations > 0 ? budget.evaluations / num_lanes + 1 : 0) {}

  void count(std::int64_t evaluations) { used_ += evaluations; }
  /// 0 at the start, 1 when it is used up.
  [[nodiscard]] double used() const {
    if (evaluations_ > 0) return static_cast<double>(used_) / static_cast<double>(evaluations_);
    const std::chrono::duration<double> elapsed = Clock::now() - start_;
    return seconds_ > 0.0 ? elapsed.count() / seconds_ : 1.0;
  }
  [[nodiscard]] std::int64_t count() const { return used_; }

 private:
  Clock::time_point start_;
  double seconds_;
  std::int64_t evaluations_;
  std::int64_t used_ = 0;
};

}  // namespace halfpipe::schedule
