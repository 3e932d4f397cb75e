// SPDX-License-Identifier: Apache-2.0
// The search over orders for stages that have their places: constructors, then policies, then
// annealing.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "parallel/schedule/search/anneal.h"
#include "parallel/schedule/search/candidate_pool.h"
#include "parallel/schedule/search/instance.h"
#include "parallel/schedule/search/lanes.h"
#include "parallel/schedule/search/policy_search.h"
#include "parallel/schedule/search/problem.h"

namespace halfpipe::schedule {

class OrderSearch {
 public:
  /// `good_enough`: seconds of the objective that nothing can beat; the search stops there.
  OrderSearch(const SearchProblem& problem, double good_enough, const SearchBudget& budget);
  ~OrderSearch();
  OrderSearch(OrderSearch&&) noexcept;

  /// Orders for the problem's placement that may be where the search begins; those that do not fit
  /// the memory are passed over.
  void offer(const StageOrders& orders);
  /// Tries some policies of the library, to see what the placement is good for, or the rest of
  /// them; fewer if lanes are beyond `until`.
  enum class LibraryPart : std::uint8_t { kFirst, kRest };
  void try_library(std::vector<Lane>& lanes, LibraryPart part, double until);
  /// Looks for better policies until the lanes have used `until` of their budgets.
  void improve_policies(std::vector<Lane>& lanes, double until);
  /// Shifts passes of the best orders until the lanes have used `until`.
  void improve_orders(std::vector<Lane>& lanes, const Cooling& cooling, double until);

  [[nodiscard]] bool found() const { return !pool_.empty(); }
  [[nodiscard]] bool is_optimal() const { return found() && best_cost_ <= good_enough_; }
  /// Seconds of the objective as simulate() has them; found() must hold.
  [[nodiscard]] double best_cost() const { return best_cost_; }
  /// Policies come near the best orders, so that more of them may be better.
  [[nodiscard]] bool are_policies_near() const;
  [[nodiscard]] StageOrders best(const std::string& name) const;
  [[nodiscard]] std::size_t num_ops() const;
  /// The best orders that differ in cost, best first.
  [[nodiscard]] const std::vector<Candidate>& candidates() const { return pool_.all(); }

 private:
  struct Views;
  void keep(const TimetableCost& cost, const RowOrders& orders);
  void merge(const std::vector<CandidatePool>& pools);
  void merge_policies(const std::vector<CandidatePool>& pools);

  int num_threads_;
  double good_enough_;
  // Timetables do not know that links may carry one message at a time. Where they do, candidates
  // that are kept are simulated; these costs then say nothing about the optimum.
  std::optional<CostModel> simulated_costs_;
  double good_timetable_;  // seconds on a timetable that nothing can beat; 0 where simulated
  std::unique_ptr<Views> views_;
  std::unique_ptr<Views> small_views_;  // fewer micro-batches, where there are very many passes
  std::vector<PolicySearch> searches_;  // [lane], on small views where there are some
  CandidatePool pool_;                  // where improvements start
  RowOrders best_orders_;
  double best_cost_ = std::numeric_limits<double>::infinity();
  double best_policy_cost_ = std::numeric_limits<double>::infinity();  // on a timetable
};

}  // namespace halfpipe::schedule
