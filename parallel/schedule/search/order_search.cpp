// SPDX-License-Identifier: Apache-2.0
#include "parallel/schedule/search/order_search.h"

#include <algorithm>
#include <utility>

#include "parallel/schedule/simulate.h"

namespace halfpipe::schedule {
namespace {

constexpr std::size_t kPoolSize = 8;
constexpr std::size_t kFirstPoints = 12;  // of the library
// Beyond this, policies are tried on a step of few micro-batches first: what makes them good is the
// same there.
constexpr std::size_t kManyOps = 6000;
constexpr int kFewMicroBatchesPerRank = 3;
// Bounds are up to 1e-9 of the work too low.
constexpr double kRounding = 1e-7;

SearchProblem without_messages(SearchProblem problem) {
  problem.costs.message_seconds = 0.0;
  problem.costs.links.clear();
  problem.costs.one_message_at_a_time = false;
  return problem;
}

SearchProblem with_equal_passes(SearchProblem problem, double seconds) {
  problem = without_messages(std::move(problem));
  for (StageCost& stage : problem.costs.stages) {
    stage.forward_seconds = seconds;
    stage.backward_input_seconds = seconds;
    stage.backward_weight_seconds = seconds;
  }
  return problem;
}

bool has_equal_passes(const Instance& instance) {
  return std::all_of(instance.rows.begin(), instance.rows.end(),
                     [&](const Row& row) { return row.seconds == instance.rows.front().seconds; });
}

}  // namespace

/// The problem, and the same with times that sometimes lead to better orders.
struct OrderSearch::Views {
  explicit Views(const SearchProblem& problem) {
    instances.push_back(std::make_unique<Instance>(problem));
    const Instance& real = *instances.front();
    if (problem.costs.message_seconds > 0.0 || !problem.costs.links.empty()) {
      instances.push_back(std::make_unique<Instance>(without_messages(problem)));
    }
    if (!has_equal_passes(real)) {
      instances.push_back(
          std::make_unique<Instance>(with_equal_passes(problem, real.mean_pass_seconds)));
    }
  }
  [[nodiscard]] const Instance& real() const { return *instances.front(); }
  [[nodiscard]] std::vector<const Instance*> pointers() const {
    std::vector<const Instance*> all;
    for (const auto& instance : instances) all.push_back(instance.get());
    return all;
  }

  std::vector<std::unique_ptr<Instance>> instances;
};

OrderSearch::OrderSearch(const SearchProblem& problem,
                         double good_enough,
                         const SearchBudget& budget)
    : num_threads_(std::max(1, budget.num_threads)),
      good_enough_(good_enough * (1.0 + kRounding)),
      simulated_costs_(problem.costs.one_message_at_a_time ? std::optional(problem.costs)
                                                           : std::nullopt),
      good_timetable_(simulated_costs_ ? 0.0 : good_enough_),
      views_(std::make_unique<Views>(problem)),
      pool_(kPoolSize) {
  const int few = kFewMicroBatchesPerRank * problem.placement.num_pipeline_ranks();
  if (views_->real().num_ops() > kManyOps && problem.num_micro_batches > few) {
    SearchProblem small = problem;
    small.num_micro_batches = few;
    small_views_ = std::make_unique<Views>(small);
  }
}

OrderSearch::~OrderSearch() = default;
OrderSearch::OrderSearch(OrderSearch&&) noexcept = default;

std::size_t OrderSearch::num_ops() const {
  return views_->real().num_ops();
}

bool OrderSearch::are_policies_near() const {
  constexpr double kNear = 1.002;
  return best_policy_cost_ <= kNear * best_cost_;
}

StageOrders OrderSearch::best(const std::string& name) const {
  return views_->real().orders_of(best_orders_, name);
}

void OrderSearch::offer(const StageOrders& orders) {
  Timetable timetable(views_->real());
  const RowOrders rows = views_->real().rows_of(orders);
  if (timetable.load(rows)) keep(timetable.cost(), rows);
}

// The pool is sorted by weighted cost, so the least cost need not be its first.
void OrderSearch::keep(const TimetableCost& cost, const RowOrders& orders) {
  pool_.offer(cost, orders);
  double seconds = cost.worst;
  if (simulated_costs_) {
    const Timeline timeline =
        simulate(views_->real().orders_of(orders, "candidate"), *simulated_costs_);
    const bool span = views_->real().objective == Objective::kSpan;
    seconds = span ? timeline.span : timeline.makespan;
  }
  if (seconds >= best_cost_) return;
  best_cost_ = seconds;
  best_orders_ = orders;
}

void OrderSearch::merge(const std::vector<CandidatePool>& pools) {
  for (const CandidatePool& pool : pools) {
    for (const Candidate& candidate : pool.all()) keep(candidate.cost, candidate.orders);
  }
}

void OrderSearch::merge_policies(const std::vector<CandidatePool>& pools) {
  for (const CandidatePool& pool : pools) {
    if (!pool.empty()) best_policy_cost_ = std::min(best_policy_cost_, pool.best().cost.worst);
  }
  merge(pools);
}

void OrderSearch::try_library(std::vector<Lane>& lanes, LibraryPart part, double until) {
  const Views& views = small_views_ ? *small_views_ : *views_;
  if (searches_.empty()) {
    for (Lane& lane : lanes) searches_.emplace_back(views.pointers(), lane.random.bits());
  }
  std::vector<CandidatePool> pools(lanes.size(), CandidatePool(kPoolSize));
  run_lanes(lanes, num_threads_, [&](Lane& lane) {
    PolicySearch& search = searches_[lane.index];
    const std::vector<PolicySearch::Point> points = search.library();
    const std::size_t begin = part == LibraryPart::kFirst ? 0 : kFirstPoints;
    const std::size_t end = part == LibraryPart::kFirst ? kFirstPoints : points.size();
    for (std::size_t i = begin + lane.index; i < end; i += lanes.size()) {
      search.try_point(points[i], pools[lane.index]);
      lane.budget.count(kEvaluationsPerPolicy);
      if (lane.budget.used() >= until) break;
    }
    if (!small_views_) return;
    pools[lane.index] = CandidatePool(kPoolSize);
    PolicySearch whole(views_->pointers(), lane.random.bits());
    int left = part == LibraryPart::kFirst ? 1 : 4;
    for (const PolicySearch::Point& point : search.best_points()) {
      whole.try_point(point, pools[lane.index]);
      lane.budget.count(kEvaluationsPerPolicy);
      if (--left == 0 || lane.budget.used() >= until) break;
    }
  });
  merge_policies(pools);
}

void OrderSearch::improve_policies(std::vector<Lane>& lanes, double until) {
  if (is_optimal() || searches_.empty()) return;
  constexpr double kNoiseFrom = 0.55;  // share of the way to `until`
  std::vector<CandidatePool> pools(lanes.size(), CandidatePool(kPoolSize));
  run_lanes(lanes, num_threads_, [&](Lane& lane) {
    PolicySearch& search = searches_[lane.index];
    CandidatePool& pool = pools[lane.index];
    CandidatePool small_pool(1);
    const double begin = lane.budget.used();
    // The whole step is timed for the best points alone, which takes a while at the end.
    const double stop = small_views_ ? begin + 0.7 * (until - begin) : until;
    while (lane.budget.used() < stop && !is_optimal()) {
      if (lane.budget.used() > begin + kNoiseFrom * (stop - begin)) search.allow_noise();
      search.step(small_views_ ? small_pool : pool);
      lane.budget.count(kEvaluationsPerPolicy);
      if (!pool.empty() && pool.best().cost.worst <= good_timetable_) return;
    }
    if (!small_views_) return;
    PolicySearch whole(views_->pointers(), lane.random.bits());
    for (const PolicySearch::Point& point : search.best_points()) {
      if (lane.budget.used() >= until) break;
      whole.try_point(point, pool);
      lane.budget.count(kEvaluationsPerPolicy);
    }
  });
  merge_policies(pools);
}

void OrderSearch::improve_orders(std::vector<Lane>& lanes, const Cooling& cooling, double until) {
  if (!found()) return;
  std::vector<CandidatePool> pools(lanes.size(), CandidatePool(1));
  run_lanes(lanes, num_threads_, [&](Lane& lane) {
    if (is_optimal() || lane.budget.used() >= until) return;
    // Lanes begin at different candidates: another one may lead further down than the best.
    const std::size_t from = lane.index % pool_.all().size();
    Timetable timetable(views_->real());
    timetable.load(pool_.all()[from].orders);
    anneal(views_->real(), cooling, good_timetable_, until, lane.budget, lane.random, timetable);
    pools[lane.index].offer(timetable.cost(), timetable.orders());
  });
  merge(pools);
}

}  // namespace halfpipe::schedule
