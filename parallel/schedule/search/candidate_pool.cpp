// SPDX-License-Identifier: Apache-2.0
#include "parallel/schedule/search/candidate_pool.h"

#include <algorithm>

namespace halfpipe::schedule {

bool CandidatePool::offer(const TimetableCost& cost, const RowOrders& orders) {
  const auto place = std::lower_bound(
      candidates_.begin(), candidates_.end(), cost.weighted(),
      [](const Candidate& one, double weighted) { return one.cost.weighted() < weighted; });
  if (place != candidates_.end() && place->cost.weighted() == cost.weighted()) return false;
  if (place == candidates_.end() && candidates_.size() == capacity_) return false;
  candidates_.insert(place, {cost, orders});
  if (candidates_.size() > capacity_) candidates_.pop_back();
  return true;
}

}  // namespace halfpipe::schedule
