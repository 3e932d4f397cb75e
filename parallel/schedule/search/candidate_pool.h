// SPDX-License-Identifier: Apache-2.0
// The best orders that a search has met.
#pragma once

#include <cstddef>
#include <vector>

#include "parallel/schedule/search/instance.h"
#include "parallel/schedule/search/timetable.h"

namespace halfpipe::schedule {

struct Candidate {
  TimetableCost cost;
  RowOrders orders;
};

/// Sorted by weighted cost; of equals the first that came. Orders of the same cost as one that is
/// there are taken for the same.
class CandidatePool {
 public:
  explicit CandidatePool(std::size_t capacity) : capacity_(capacity) {}

  /// Returns whether it was kept.
  bool offer(const TimetableCost& cost, const RowOrders& orders);

  [[nodiscard]] const std::vector<Candidate>& all() const { return candidates_; }
  [[nodiscard]] bool empty() const { return candidates_.empty(); }
  [[nodiscard]] const Candidate& best() const { return candidates_.front(); }

 private:
  std::size_t capacity_;
  std::vector<Candidate> candidates_;
};

}  // namespace halfpipe::schedule
