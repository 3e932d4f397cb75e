// SPDX-License-Identifier: Apache-2.0
// Looks for splits that deserve a long search for orders, by short ones.
#pragma once

#include <cstdint>
#include <vector>

#include "parallel/schedule/search/budget.h"
#include "parallel/schedule/search/layered_model.h"
#include "parallel/schedule/search/partition_layers.h"

namespace halfpipe::schedule {

/// The loads and memory of a model's layers, seconds of all three passes and the bytes that one
/// micro-batch and the residents take.
[[nodiscard]] PartitionTask partition_task_of(const JointProblem& problem,
                                              const Placement& placement);

/// With this much on every rank some split has a schedule, on the placement that needs least.
[[nodiscard]] std::int64_t smallest_limit_of_any_split(const JointProblem& problem);

struct ScoredSplit {
  Split split;
  double cost;  // seconds of the objective that a short search found
};

class SplitSearch {
 public:
  /// check(problem) holds; it outlives this.
  SplitSearch(const JointProblem& problem, const SearchBudget& budget);

  /// Scores, on every placement, splits with balanced ranks, stages or memory, if they fit; only
  /// the given one if there is one.
  void start();
  /// Scores splits near the best, and goes on from whatever is better, until `until` of the budget
  /// is used or nothing near is left that could win.
  void climb(double until);

  /// Sorted by cost, of equals the first that came.
  [[nodiscard]] const std::vector<ScoredSplit>& scored() const { return scored_; }
  /// What is left of the budget.
  [[nodiscard]] SearchBudget rest() const;

 private:
  [[nodiscard]] double used() const;
  /// Unless it does not fit, or was met before.
  void score(const Split& split);
  [[nodiscard]] std::vector<Split> near(const Split& split) const;
  /// The best one whose neighbours were not all tried; null when there is none worth it.
  [[nodiscard]] const ScoredSplit* next_to_expand() const;

  const JointProblem& problem_;
  SearchBudget budget_;
  BudgetShare share_;
  std::vector<ScoredSplit> scored_;
  std::vector<Split> met_;
  std::vector<Split> expanded_;
};

}  // namespace halfpipe::schedule
