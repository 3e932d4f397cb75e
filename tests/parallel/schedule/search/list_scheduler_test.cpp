// SPDX-License-Identifier: Apache-2.0
// Orders of the list scheduler, for random tastes and limits so tight that it can only just work.
#include "parallel/schedule/search/list_scheduler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <random>
#include <vector>

#include "order_properties.h"
#include "parallel/schedule/search/lower_bound.h"
#include "parallel/schedule/search/policy_search.h"
#include "parallel/schedule/simulate.h"
#include "random_problem.h"

namespace halfpipe::schedule {
namespace {

constexpr ProblemSizes kMost{.ranks = 6, .stages = 16, .micro_batches = 8};

/// In steps of a tenth.
double draw_tenths(std::mt19937& random, int lowest, int highest) {
  return 0.1 * draw(random, lowest, highest);
}

std::vector<double> draw_list(std::mt19937& random, int size, int lowest, int highest) {
  std::vector<double> list;
  for (int i = 0; i < size; ++i) list.push_back(draw_tenths(random, lowest, highest));
  return list;
}

/// Anything, sensible or not.
ListPolicy random_policy(std::mt19937& random, const Placement& placement) {
  const auto now_and_then = [&] { return draw(random, 0, 2) == 0; };
  ListPolicy policy;
  policy.hop_gaps = draw_list(random, 2 * placement.num_chunks(), -20, 30);
  policy.turn_gaps = draw_list(random, 2 * placement.num_chunks() - 1, -30, 50);
  policy.interval = draw_tenths(random, 0, 20);
  policy.early_cap = draw_tenths(random, -5, 15);
  policy.early_cap_slope = draw_tenths(random, -10, 10);
  if (now_and_then()) {
    policy.cap_shift = draw_list(random, placement.num_pipeline_ranks(), -40, 40);
  }
  if (now_and_then()) policy.weight_delay = draw_tenths(random, -20, 60);
  policy.weight_overhang = draw_tenths(random, 0, 10);
  if (now_and_then()) policy.eagerness = draw_tenths(random, 0, 30);
  policy.weights_make_room = draw(random, 0, 1) == 0;
  if (now_and_then()) policy.target_noise = draw_list(random, 2 * placement.num_stages(), -30, 30);
  return policy;
}

/// Bytes with which its way of working needs no luck: one micro-batch on every stage of the rank,
/// and what a B needs for a moment. More than the least that some order can do with.
std::vector<std::int64_t> enough_memory(const SearchProblem& problem) {
  const auto num_ranks = static_cast<std::size_t>(problem.placement.num_pipeline_ranks());
  std::vector<std::int64_t> sum(num_ranks, 0);
  std::vector<std::int64_t> headroom(num_ranks, 0);
  for (int stage = 0; stage < problem.placement.num_stages(); ++stage) {
    const StageCost& cost = problem.costs.stages[static_cast<std::size_t>(stage)];
    const auto rank = static_cast<std::size_t>(problem.placement.rank_of(stage));
    sum[rank] += cost.forward_to_backward_input_bytes + cost.forward_to_backward_weight_bytes +
                 cost.backward_input_to_backward_weight_bytes;
    headroom[rank] = std::max(headroom[rank], cost.backward_input_to_backward_weight_bytes);
  }
  for (std::size_t rank = 0; rank < num_ranks; ++rank) sum[rank] += headroom[rank];
  return sum;
}

void expect_complete_and_within_memory(const Instance& instance,
                                       const SearchProblem& problem,
                                       const RowOrders& rows) {
  const StageOrders orders = instance.orders_of(rows, "list");
  EXPECT_EQ(first_order_violation(orders), "");
  const Timeline timeline = simulate(orders, problem.costs);  // throws where orders deadlock
  for (std::size_t rank = 0; rank < rows.size(); ++rank) {
    EXPECT_LE(timeline.peak_activation_bytes[rank], problem.memory_limit[rank]);
  }
}

TEST(ListScheduler, CompletesEveryPolicyWithJustEnoughMemory) {
  std::mt19937 random(21);
  for (int i = 0; i < 1500; ++i) {
    SearchProblem problem = random_problem(random, kMost);
    problem.memory_limit = enough_memory(problem);
    if (draw(random, 0, 1) == 1) {
      for (std::int64_t& limit : problem.memory_limit) limit += draw(random, 0, 4);
    }
    const Instance instance(problem);
    ListScheduler scheduler(instance);
    RowOrders orders;
    for (int j = 0; j < 4; ++j) {
      SCOPED_TRACE("problem " + std::to_string(i) + ", policy " + std::to_string(j));
      ASSERT_TRUE(scheduler.run(random_policy(random, problem.placement), orders));
      expect_complete_and_within_memory(instance, problem, orders);
    }
    if (HasFailure()) return;
  }
}

// Below that it may give up, but what it calls complete must be.
TEST(ListScheduler, NeverClaimsOrdersThatDoNotFit) {
  std::mt19937 random(22);
  int num_complete = 0;
  int num_given_up = 0;
  for (int i = 0; i < 1500; ++i) {
    SearchProblem problem = random_problem(random, kMost);
    problem.memory_limit = smallest_memory_limit(problem.placement, problem.costs);
    const Instance instance(problem);
    RowOrders orders;
    if (ListScheduler(instance).run(random_policy(random, problem.placement), orders)) {
      ++num_complete;
      expect_complete_and_within_memory(instance, problem, orders);
    } else {
      ++num_given_up;
    }
    if (HasFailure()) return;
  }
  EXPECT_GT(num_complete, 100);
  EXPECT_GT(num_given_up, 100);
}

TEST(ListScheduler, GivesUpWhereNoMicroBatchFits) {
  std::mt19937 random(23);
  for (int i = 0; i < 300; ++i) {
    SearchProblem problem = random_problem(random, kMost);
    problem.memory_limit = smallest_memory_limit(problem.placement, problem.costs);
    const auto rank =
        static_cast<std::size_t>(draw(random, 0, problem.placement.num_pipeline_ranks() - 1));
    --problem.memory_limit[rank];
    const Instance instance(problem);
    RowOrders orders;
    ASSERT_FALSE(ListScheduler(instance).run(random_policy(random, problem.placement), orders));
  }
}

// Tables are kept between runs: nothing of one run may be left in the next.
TEST(ListScheduler, RunsAgainAsIfAnew) {
  std::mt19937 random(24);
  for (int i = 0; i < 300; ++i) {
    const SearchProblem problem = random_problem(random, kMost);
    const Instance instance(problem);
    ListScheduler used(instance);
    for (int j = 0; j < 3; ++j) {
      const ListPolicy policy = random_policy(random, problem.placement);
      RowOrders again;
      RowOrders anew;
      const bool completes = used.run(policy, again);
      ASSERT_EQ(completes, ListScheduler(instance).run(policy, anew));
      ASSERT_EQ(again, anew);
    }
  }
}

TEST(PolicyLibrary, HasPoliciesThatFitTheirPlacement) {
  for (const int num_chunks : {1, 2, 3, 4, 6}) {
    const std::vector<ListPolicy> policies = policy_library(num_chunks);
    EXPECT_FALSE(policies.empty());
    for (const ListPolicy& policy : policies) {
      EXPECT_EQ(policy.hop_gaps.size(), static_cast<std::size_t>(2 * num_chunks));
      EXPECT_EQ(policy.turn_gaps.size(), static_cast<std::size_t>(2 * num_chunks - 1));
    }
  }
}

}  // namespace
}  // namespace halfpipe::schedule
