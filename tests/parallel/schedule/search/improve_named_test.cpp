// SPDX-License-Identifier: Apache-2.0
// Textbook orders improved for real costs: never longer, never more memory on any rank.
#include "parallel/schedule/search/improve_named.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <optional>
#include <random>
#include <string>

#include "parallel/schedule/catalogue.h"
#include "parallel/schedule/search/search.h"
#include "parallel/schedule/simulate.h"
#include "random_problem.h"

namespace halfpipe::schedule {
namespace {

constexpr const char* kMadeForEqualCosts[] = {"1f1b-v", "v-min", "v-half", "w4"};

CostModel random_costs(std::mt19937& random, int num_stages) {
  CostModel costs = uniform_costs(num_stages);
  for (StageCost& stage : costs.stages) {
    stage.forward_seconds = 0.1 * draw(random, 1, 20);
    stage.backward_input_seconds = 0.1 * draw(random, 1, 20);
    stage.backward_weight_seconds = 0.1 * draw(random, 0, 20);
    stage.forward_to_backward_weight_bytes = draw(random, 0, 5);
    stage.forward_to_backward_input_bytes = draw(random, 0, 2);
  }
  costs.message_seconds = 0.1 * draw(random, 0, 3);
  return costs;
}

TEST(ImproveNamed, IsNeverLongerAndTakesNoMoreMemoryOnAnyRank) {
  std::mt19937 random(5);
  int shorter = 0;
  constexpr int kCases = 120;
  for (int i = 0; i < kCases; ++i) {
    const std::string name = kMadeForEqualCosts[i % 4];
    const int p = draw(random, 1, 6);
    const int m = draw(random, 1, 10);
    const CostModel costs = random_costs(random, placement_for(name, p, 0).num_stages());
    const Objective objective = i % 8 < 4 ? Objective::kSpan : Objective::kMakespan;
    SCOPED_TRACE(name + " p " + std::to_string(p) + " m " + std::to_string(m));
    const StageOrders textbook = make_orders(name, p, m, 0, costs);
    const std::optional<SearchProblem> problem = improvement_of(textbook, costs, objective);
    ASSERT_TRUE(problem);
    SearchBudget budget;
    budget.evaluations = 2000;
    const SearchResult found = search_schedule({*problem}, budget);
    const Timeline before = simulate(textbook, costs);
    const Timeline after = simulate(found.orders, costs);
    EXPECT_LE(cost_of(after, objective), cost_of(before, objective));
    shorter += static_cast<int>(cost_of(after, objective) < cost_of(before, objective));
    for (std::size_t rank = 0; rank < after.ranks.size(); ++rank) {
      EXPECT_LE(after.peak_activation_bytes[rank], before.peak_activation_bytes[rank]) << rank;
    }
  }
  EXPECT_GT(shorter, kCases / 2);  // the others leave nothing to gain: few ranks or micro-batches
}

TEST(ImproveNamed, LeavesEqualCostsAndOtherSchedulesAlone) {
  for (const char* name : kMadeForEqualCosts) {
    CostModel costs = uniform_costs(placement_for(name, 4, 0).num_stages());
    const StageOrders orders = make_orders(name, 4, 8, 0, costs);
    EXPECT_FALSE(improvement_of(orders, costs, Objective::kSpan)) << name;
    costs.message_seconds = 0.01;
    EXPECT_TRUE(improvement_of(orders, costs, Objective::kSpan)) << name;
    costs.message_seconds = 0.0;
    costs.stages.back().backward_weight_seconds = 1.01;
    EXPECT_TRUE(improvement_of(orders, costs, Objective::kSpan)) << name;
  }
  CostModel costs = uniform_costs(4);
  costs.message_seconds = 0.1;
  for (const char* name : {"gpipe", "1f1b", "zb-1p", "zb-2p"}) {
    EXPECT_FALSE(improvement_of(make_orders(name, 4, 8, 1, costs), costs, Objective::kSpan));
  }
}

TEST(ImproveNamed, CountsLinksAsMessages) {
  CostModel costs = uniform_costs(8);
  costs.links.assign(4, std::vector<LinkCost>(4));
  EXPECT_TRUE(are_equal_costs(costs));
  costs.links[2][3].latency_seconds = 0.5;
  EXPECT_FALSE(are_equal_costs(costs));
}

}  // namespace
}  // namespace halfpipe::schedule
