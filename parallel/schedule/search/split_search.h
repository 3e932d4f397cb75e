// SPDX-License-Identifier: Apache-2.0
// Looks for splits that deserve a long search for orders, by short ones.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include "parallel/schedule/search/budget.h"
#include "parallel/schedule/search/layered_model.h"
#include "parallel/schedule/stage_orders.h"

namespace halfpipe::schedule {

struct ScoredSplit {
  Split split;
  double cost;   // seconds of the objective that a short search found
  double bound;  // no orders cost less
  bool looked_closer = false;

  /// What a long search may find: it closes part of the gap, less after a closer look.
  [[nodiscard]] double promise() const {
    return bound + (looked_closer ? 0.75 : 0.5) * (cost - bound);
  }
};

class SplitSearch {
 public:
  /// check(problem) holds; it outlives this.
  SplitSearch(const JointProblem& problem, const SearchBudget& budget);

  /// Scores, on every placement, splits with balanced ranks, memory or stages, if they fit; only
  /// the given one if there is one. Once something fits, `until` of the budget ends it.
  void start(double until);
  /// Scores splits near the best, and goes on from whatever is better, until `until` of the budget
  /// is used or nothing near is left that could win.
  void climb(double until);
  /// Scores the `count` most promising again, by longer searches, unless `until` comes first.
  void look_closer(std::size_t count, double until);

  [[nodiscard]] double best_cost() const { return best_cost_; }
  [[nodiscard]] const Split& best_split() const { return best_split_.value(); }
  /// The orders of best_split() that cost best_cost().
  [[nodiscard]] const StageOrders& best_orders() const { return best_orders_.value(); }
  /// The most promising first, of equals the first that came.
  [[nodiscard]] const std::vector<ScoredSplit>& scored() const { return scored_; }
  /// What is left of the budget.
  [[nodiscard]] SearchBudget rest() const;

 private:
  [[nodiscard]] double used() const;
  /// Unless it does not fit, or was met before.
  void score(const Split& split);
  /// List policies only: most of search_schedule()'s time on many passes is what it begins with.
  [[nodiscard]] ScoredSplit look_at(const Split& split, const SearchProblem& problem);
  [[nodiscard]] ScoredSplit look_closer_at(const Split& split);
  void keep_if_best(const Split& split, double cost, const StageOrders& orders);
  void insert(ScoredSplit scored);
  [[nodiscard]] std::vector<Split> near(const Split& split) const;
  /// The most promising one whose neighbours were not all tried; null when there is none worth it.
  [[nodiscard]] const ScoredSplit* next_to_expand() const;

  const JointProblem& problem_;
  SearchBudget budget_;
  BudgetShare share_;
  std::vector<ScoredSplit> scored_;
  double best_cost_ = std::numeric_limits<double>::infinity();
  std::optional<Split> best_split_;
  std::optional<StageOrders> best_orders_;
  std::vector<Split> met_;
  std::vector<Split> expanded_;
};

}  // namespace halfpipe::schedule
