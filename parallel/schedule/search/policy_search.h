// SPDX-License-Identifier: Apache-2.0
// Looks for the list policy whose orders cost least: a library of policies that are good somewhere,
// then hill climbing from the best of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "parallel/schedule/search/candidate_pool.h"
#include "parallel/schedule/search/list_scheduler.h"
#include "parallel/schedule/search/random.h"

namespace halfpipe::schedule {

/// Policies for v chunks per rank, those that are good most often first.
[[nodiscard]] std::vector<ListPolicy> policy_library(int num_chunks);

class PolicySearch {
 public:
  /// Makes orders for each of `views`: the instance itself first, then the same with other times
  /// (orders made without messages, or for passes of equal length, are often good where real times
  /// mislead a list scheduler). All are scored with the times of the first. They outlive it.
  PolicySearch(const std::vector<const Instance*>& views, std::uint64_t seed);

  struct Point {
    ListPolicy policy;
    std::size_t view = 0;  // index into views
  };

  /// The library's points; several searches of one problem share them out.
  [[nodiscard]] std::vector<Point> library() const;
  /// Makes and scores the orders of a point. The best one so far is where steps start from.
  void try_point(const Point& point, CandidatePool& pool);
  /// Tries a point near the best one, or, now and then, one anywhere.
  void step(CandidatePool& pool);
  /// The best points, best first: at most kNumBest, of different costs.
  [[nodiscard]] std::vector<Point> best_points() const;
  /// From now on single stages have targets of their own, too.
  void allow_noise() { noise_allowed_ = true; }

 private:
  static constexpr std::size_t kNumBest = 10;
  struct Scored {
    double cost;
    Point point;
  };
  [[nodiscard]] Point random_point();
  void mutate_once(Point& point);
  void remember(double cost, const Point& point);

  std::vector<ListScheduler> schedulers_;  // [view]
  Timetable timetable_;
  Random random_;
  int num_stages_;
  std::size_t num_ranks_;
  std::vector<ListPolicy> policies_;  // the library
  bool noise_allowed_ = false;
  std::vector<Scored> best_;  // sorted
  RowOrders orders_;
};

}  // namespace halfpipe::schedule
