// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/planning/arena_fit.h"

#include <algorithm>
#include <cstddef>

namespace halfpipe::runtime {

namespace {

constexpr double kShareOfRepeat = 0.25;

schedule::SearchBudget share_of(schedule::SearchBudget budget, double share) {
  budget.seconds *= share;
  if (budget.evaluations > 0) {
    budget.evaluations = std::max<std::int64_t>(
        1, static_cast<std::int64_t>(share * static_cast<double>(budget.evaluations)));
  }
  return budget;
}

}  // namespace

std::vector<std::int64_t> excess_of(const schedule::Plan& plan,
                                    const std::vector<std::int64_t>& arena_limit) {
  std::vector<std::int64_t> excess;
  for (std::size_t rank = 0; rank < plan.ranks.size(); ++rank) {
    excess.push_back(std::max<std::int64_t>(0, plan.ranks[rank].arena_bytes - arena_limit[rank]));
  }
  if (std::ranges::all_of(excess, [](std::int64_t bytes) { return bytes == 0; })) excess.clear();
  return excess;
}

void narrow(const schedule::Plan& plan,
            const std::vector<std::int64_t>& excess,
            const std::vector<std::int64_t>& residents,
            std::vector<std::int64_t>& memory_limit) {
  for (std::size_t rank = 0; rank < excess.size(); ++rank) {
    if (excess[rank] == 0) continue;
    memory_limit[rank] = residents[rank] + plan.ranks[rank].peak_activation_bytes - excess[rank];
  }
}

schedule::SearchBudget budget_of_first(const schedule::SearchBudget& whole) {
  return share_of(whole, 1.0 - kShareOfRepeat);
}

schedule::SearchBudget budget_of_repeat(const schedule::SearchBudget& whole) {
  return share_of(whole, kShareOfRepeat);
}

}  // namespace halfpipe::runtime
