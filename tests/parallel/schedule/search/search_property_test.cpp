// SPDX-License-Identifier: Apache-2.0
// What must hold of every schedule that a search finds, on thousands of random problems: it is a
// plan that runs, within memory, no worse than the catalogue and no better than the bound.
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "order_properties.h"
#include "parallel/schedule/build_plan.h"
#include "parallel/schedule/catalogue.h"
#include "parallel/schedule/check_timeline.h"
#include "parallel/schedule/search/lower_bound.h"
#include "parallel/schedule/search/search.h"
#include "parallel/schedule/simulate.h"
#include "parallel/schedule/validate.h"
#include "random_problem.h"

namespace halfpipe::schedule {
namespace {

constexpr ProblemSizes kMost{.ranks = 5, .stages = 12, .micro_batches = 7};

/// One job on one to three placements; every other draw has a limit that leaves nothing to spare.
std::vector<SearchProblem> random_choices(std::mt19937& random) {
  std::vector<SearchProblem> choices{random_problem(random, kMost)};
  const int num_ranks = choices.front().placement.num_pipeline_ranks();
  const auto wanted = static_cast<std::size_t>(draw(random, 1, 3));
  while (choices.size() < wanted) {
    SearchProblem other = random_problem(random, kMost);
    if (other.placement.num_pipeline_ranks() != num_ranks) continue;
    other.num_micro_batches = choices.front().num_micro_batches;
    other.objective = choices.front().objective;
    choices.push_back(other);
  }
  if (draw(random, 0, 1) == 0) {
    for (SearchProblem& problem : choices) {
      problem.memory_limit = smallest_memory_limit(problem.placement, problem.costs);
    }
  }
  return choices;
}

/// From next to nothing to enough for every phase of the search.
SearchBudget random_budget(std::mt19937& random) {
  constexpr int kEvaluations[] = {1, 300, 5000};
  SearchBudget budget;
  budget.evaluations = kEvaluations[draw(random, 0, 2)];
  budget.seed = static_cast<std::uint64_t>(draw(random, 1, 1000));
  return budget;
}

bool fits(const std::vector<std::int64_t>& peak, const std::vector<std::int64_t>& limit) {
  return std::equal(peak.begin(), peak.end(), limit.begin(), limit.end(), std::less_equal());
}

/// The cost of the best schedule of the catalogue that has the problem's placement and fits.
double best_of_catalogue(const SearchProblem& problem) {
  double best = std::numeric_limits<double>::infinity();
  const int p = problem.placement.num_pipeline_ranks();
  const int num_chunks = problem.placement.num_chunks();
  for (const std::string_view name : schedule_names()) {
    if (placement_for(name, p, num_chunks) != problem.placement) continue;
    const Timeline timeline = simulate(
        make_orders(name, p, problem.num_micro_batches, num_chunks, problem.costs), problem.costs);
    if (!fits(timeline.peak_activation_bytes, problem.memory_limit)) continue;
    best = std::min(best, cost_of(timeline, problem.objective));
  }
  return best;
}

std::string text(const SearchProblem& problem) {
  std::string result;
  result += "p " + std::to_string(problem.placement.num_pipeline_ranks());
  result += ", m " + std::to_string(problem.num_micro_batches);
  result += ", placement " + std::to_string(static_cast<int>(problem.placement.kind()));
  result += ", chunks " + std::to_string(problem.placement.num_chunks());
  if (problem.costs.one_message_at_a_time) result += ", one message at a time";
  result += problem.objective == Objective::kSpan ? ", span, limits" : ", makespan, limits";
  for (const std::int64_t limit : problem.memory_limit) {
    result += " ";
    result += std::to_string(limit);
  }
  return result;
}

std::string text(const std::vector<SearchProblem>& choices) {
  std::string result;
  for (const SearchProblem& problem : choices) {
    result += text(problem);
    result += "\n";
  }
  return result;
}

void expect_sound(const SearchResult& result, const SearchProblem& problem) {
  EXPECT_EQ(result.orders.name, "auto");
  EXPECT_EQ(result.orders.placement, problem.placement);
  EXPECT_EQ(result.orders.num_micro_batches, problem.num_micro_batches);
  EXPECT_EQ(first_order_violation(result.orders), "");
  const Plan plan = build_plan(result.orders, problem.costs);
  EXPECT_EQ(first_violation(plan, problem.costs), std::nullopt);
  const Timeline timeline = simulate(result.orders, problem.costs);
  EXPECT_EQ(first_violation(timeline, problem.placement, problem.num_micro_batches, problem.costs),
            std::nullopt);
  EXPECT_EQ(result.cost, cost_of(timeline, problem.objective));
  EXPECT_TRUE(fits(timeline.peak_activation_bytes, problem.memory_limit));
}

TEST(Search, FindsWhatRunsWithinMemoryBetweenBoundAndCatalogue) {
  std::mt19937 random(11);
  int num_better = 0;
  for (int i = 0; i < 1500; ++i) {
    const std::vector<SearchProblem> choices = random_choices(random);
    SCOPED_TRACE("case " + std::to_string(i) + ":\n" + text(choices));
    const SearchResult result = search_schedule(choices, random_budget(random));
    ASSERT_LT(result.choice, choices.size());
    expect_sound(result, choices[result.choice]);
    double catalogue = std::numeric_limits<double>::infinity();
    double bound = std::numeric_limits<double>::infinity();
    for (const SearchProblem& problem : choices) {
      catalogue = std::min(catalogue, best_of_catalogue(problem));
      bound = std::min(bound, lower_bound(problem).seconds);
    }
    EXPECT_LE(result.cost, catalogue);
    EXPECT_GE(result.cost, lower_bound(choices[result.choice]).seconds);
    EXPECT_EQ(result.bound, bound);
    EXPECT_FALSE(result.reason.empty());
    if (result.cost < catalogue) ++num_better;
    if (HasFailure()) return;  // one case is enough to read
  }
  EXPECT_GT(num_better, 600);
}

TEST(Search, FindsTheSameForAnyNumberOfThreadsAndAgain) {
  std::mt19937 random(12);
  int num_moved_by_seed = 0;
  for (int i = 0; i < 250; ++i) {
    const std::vector<SearchProblem> choices = random_choices(random);
    SCOPED_TRACE("case " + std::to_string(i) + ":\n" + text(choices));
    SearchBudget budget = random_budget(random);
    const SearchResult first = search_schedule(choices, budget);
    for (const int num_threads : {1, 2, 3}) {
      budget.num_threads = num_threads;
      const SearchResult again = search_schedule(choices, budget);
      ASSERT_EQ(again.choice, first.choice) << num_threads << " threads";
      ASSERT_EQ(again.cost, first.cost) << num_threads << " threads";
      ASSERT_EQ(again.orders.ranks, first.orders.ranks) << num_threads << " threads";
    }
    ++budget.seed;
    const SearchResult other = search_schedule(choices, budget);
    expect_sound(other, choices[other.choice]);
    if (other.orders.ranks != first.orders.ranks) ++num_moved_by_seed;
  }
  EXPECT_GT(num_moved_by_seed, 12);
}

/// The limit that search_schedule names, or nothing where it finds a schedule.
std::optional<std::int64_t> named_limit(const std::vector<SearchProblem>& choices) {
  SearchBudget budget;
  budget.evaluations = 1;
  try {
    const SearchResult result = search_schedule(choices, budget);
    expect_sound(result, choices[result.choice]);
    return std::nullopt;
  } catch (const MemoryLimitError& error) {
    return error.smallest_limit();
  }
}

void set_limits(std::vector<SearchProblem>& choices, std::int64_t limit) {
  for (SearchProblem& problem : choices) {
    std::fill(problem.memory_limit.begin(), problem.memory_limit.end(), limit);
  }
}

TEST(Search, NamesTheSmallestLimitWhereNothingFits) {
  std::mt19937 random(13);
  for (int i = 0; i < 500; ++i) {
    std::vector<SearchProblem> choices = random_choices(random);
    SCOPED_TRACE("case " + std::to_string(i) + ":\n" + text(choices));
    std::int64_t smallest = std::numeric_limits<std::int64_t>::max();
    for (const SearchProblem& problem : choices) {
      const auto least = smallest_memory_limit(problem.placement, problem.costs);
      smallest = std::min(smallest, *std::max_element(least.begin(), least.end()));
    }
    set_limits(choices, smallest);
    ASSERT_EQ(named_limit(choices), std::nullopt);
    set_limits(choices, smallest - 1);
    ASSERT_EQ(named_limit(choices), smallest);
  }
}

TEST(Search, PassesOverPlacementsThatDoNotFit) {
  std::mt19937 random(14);
  int num_refused = 0;
  for (int i = 0; i < 500; ++i) {
    std::vector<SearchProblem> choices = random_choices(random);
    std::int64_t smallest = std::numeric_limits<std::int64_t>::max();
    bool any_fits = false;
    for (SearchProblem& problem : choices) {
      const auto least = smallest_memory_limit(problem.placement, problem.costs);
      smallest = std::min(smallest, *std::max_element(least.begin(), least.end()));
      if (draw(random, 0, 1) == 1) {  // one rank lacks one byte
        const auto rank = static_cast<std::size_t>(draw(random, 1, static_cast<int>(least.size())));
        problem.memory_limit[rank - 1] = least[rank - 1] - 1;
      } else {
        any_fits = true;
      }
    }
    SCOPED_TRACE("case " + std::to_string(i) + ":\n" + text(choices));
    ASSERT_EQ(named_limit(choices), any_fits ? std::nullopt : std::optional(smallest));
    if (!any_fits) ++num_refused;
  }
  EXPECT_GT(num_refused, 50);
}

TEST(Search, NeedsAPlacement) {
  EXPECT_THROW((void)search_schedule({}, SearchBudget{}), ScheduleError);
}

}  // namespace
}  // namespace halfpipe::schedule
