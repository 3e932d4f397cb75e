// SPDX-License-Identifier: Apache-2.0
#include "parallel/schedule/simulate.h"

#include <algorithm>
#include <optional>
#include <string>

#include "parallel/schedule/link_clock.h"
#include "parallel/schedule/pass_graph.h"
#include "parallel/schedule/schedule_error.h"

namespace halfpipe::schedule {
namespace {

std::string describe(const PassOp& op) {
  constexpr const char* kNames[kNumPasses] = {"forward", "backward_input", "backward_weight"};
  return std::string(kNames[static_cast<int>(op.pass)]) + " of stage " + std::to_string(op.stage) +
         ", micro-batch " + std::to_string(op.micro_batch);
}

void check_ranges(const StageOrders& orders, const CostModel& costs) {
  const auto num_stages = static_cast<std::size_t>(orders.placement.num_stages());
  if (costs.stages.size() != num_stages) {
    throw ScheduleError("the cost model has " + std::to_string(costs.stages.size()) +
                        " stages, the schedule '" + orders.name + "' has " +
                        std::to_string(num_stages));
  }
  if (orders.ranks.size() != static_cast<std::size_t>(orders.placement.num_pipeline_ranks())) {
    throw ScheduleError("the schedule '" + orders.name + "' has lists for " +
                        std::to_string(orders.ranks.size()) + " ranks, its placement has " +
                        std::to_string(orders.placement.num_pipeline_ranks()));
  }
  for (const std::vector<PassOp>& ops : orders.ranks) {
    for (const PassOp& op : ops) {
      if (op.stage < 0 || op.stage >= orders.placement.num_stages() || op.micro_batch < 0 ||
          op.micro_batch >= orders.num_micro_batches) {
        throw ScheduleError("the schedule '" + orders.name + "' has no " + describe(op));
      }
    }
  }
}

/// Advances every rank as far as its inputs allow, again and again, until all lists are done.
class Replay {
 public:
  Replay(const StageOrders& orders, const CostModel& costs)
      : orders_(orders),
        costs_(costs),
        links_(costs, orders.placement.num_pipeline_ranks()),
        next_(orders.ranks.size(), 0),
        rank_free_(orders.ranks.size(), 0.0),
        available_(orders.placement.num_stages(), orders.num_micro_batches, kNotRun) {}

  std::vector<std::vector<TimedPass>> run() {
    timed_.resize(orders_.ranks.size());
    std::vector<std::size_t> runnable;
    for (std::size_t rank = orders_.ranks.size(); rank > 0; --rank) runnable.push_back(rank - 1);
    while (!runnable.empty()) {
      const std::size_t rank = runnable.back();
      runnable.pop_back();
      advance(rank, runnable);
    }
    check_all_done();
    return std::move(timed_);
  }

 private:
  static constexpr double kNotRun = -1.0;

  /// Runs passes of `rank` until one lacks an input; appends ranks that got an input they wait for.
  void advance(std::size_t rank, std::vector<std::size_t>& runnable) {
    const std::vector<PassOp>& ops = orders_.ranks[rank];
    for (; next_[rank] < ops.size(); ++next_[rank]) {
      const PassOp& op = ops[next_[rank]];
      const std::optional<double> ready = ready_time(op);
      if (!ready) return;
      if (available_[op] != kNotRun) {
        throw ScheduleError("the schedule '" + orders_.name + "' runs the " + describe(op) +
                            " twice");
      }
      const double start = std::max(*ready, rank_free_[rank]);
      const double end = start + costs_.stages[static_cast<std::size_t>(op.stage)].seconds(op.pass);
      timed_[rank].push_back({op, start, end});
      rank_free_[rank] = end;
      hand_over(op, rank, end, runnable);
    }
  }

  /// When the inputs of `op` are on its rank; nothing while one has not run.
  std::optional<double> ready_time(const PassOp& op) const {
    // A pass of the same stage has run on the same rank: that rank is free only after it.
    if (const std::optional<PassOp> own = own_input(op); own && available_[*own] == kNotRun) {
      return std::nullopt;
    }
    const std::optional<PassOp> input = neighbour_input(op, orders_.placement.num_stages());
    if (!input) return 0.0;
    const double available = available_[*input];
    return available == kNotRun ? std::nullopt : std::optional(available);
  }

  /// Sends what `op` has written, on its link in the order of execution, and wakes its reader.
  void hand_over(const PassOp& op,
                 std::size_t rank,
                 double end,
                 std::vector<std::size_t>& runnable) {
    const std::optional<PassOp> consumer = neighbour_consumer(op, orders_.placement.num_stages());
    if (!consumer) {
      available_[op] = end;
      return;
    }
    const int to_rank = orders_.placement.rank_of(consumer->stage);
    available_[op] = links_.arrival(static_cast<int>(rank), to_rank, end);
    const auto other = static_cast<std::size_t>(to_rank);
    if (other == rank || next_[other] == orders_.ranks[other].size()) return;
    if (orders_.ranks[other][next_[other]] == *consumer) runnable.push_back(other);
  }

  void check_all_done() const {
    for (std::size_t rank = 0; rank < orders_.ranks.size(); ++rank) {
      if (next_[rank] == orders_.ranks[rank].size()) continue;
      throw ScheduleError("the schedule '" + orders_.name + "' cannot run: rank " +
                          std::to_string(rank) + " waits for ever before the " +
                          describe(orders_.ranks[rank][next_[rank]]));
    }
  }

  const StageOrders& orders_;
  const CostModel& costs_;
  LinkClock links_;
  std::vector<std::size_t> next_;  // [ranks] index of the first pass not yet run
  std::vector<double> rank_free_;  // [ranks] end of the last pass run, seconds
  PassTable<double> available_;    // when its reader has what a pass wrote, seconds, or kNotRun
  std::vector<std::vector<TimedPass>> timed_;
};

void measure_time(Timeline& timeline) {
  double first_start = 0.0;
  double last_end = 0.0;
  double busy = 0.0;
  bool any = false;
  for (const std::vector<TimedPass>& passes : timeline.ranks) {
    if (passes.empty()) continue;
    first_start = any ? std::min(first_start, passes.front().start) : passes.front().start;
    last_end = std::max(last_end, passes.back().end);
    any = true;
    timeline.span = std::max(timeline.span, passes.back().end - passes.front().start);
    double rank_busy = 0.0;
    for (const TimedPass& pass : passes) rank_busy += pass.end - pass.start;
    busy = std::max(busy, rank_busy);
  }
  timeline.makespan = last_end - first_start;
  if (timeline.span > 0.0) timeline.bubble_fraction = 1.0 - busy / timeline.span;
  if (timeline.makespan > 0.0) timeline.bubble_fraction_makespan = 1.0 - busy / timeline.makespan;
}

/// A rank's passes do not overlap, so its memory depends on their order only, not on their times.
void measure_memory(const StageOrders& orders, const CostModel& costs, Timeline& timeline) {
  for (const std::vector<PassOp>& ops : orders.ranks) {
    std::int64_t bytes = 0;
    std::int64_t peak_bytes = 0;
    int stages_in_flight = 0;
    int peak_stages = 0;
    for (const PassOp& op : ops) {
      const StageCost& cost = costs.stages[static_cast<std::size_t>(op.stage)];
      switch (op.pass) {
        case Pass::kForward:
          bytes += cost.forward_to_backward_input_bytes + cost.forward_to_backward_weight_bytes;
          ++stages_in_flight;
          break;
        case Pass::kBackwardInput:
          bytes += cost.backward_input_to_backward_weight_bytes;
          break;
        case Pass::kBackwardWeight:
          break;
      }
      peak_bytes = std::max(peak_bytes, bytes);
      peak_stages = std::max(peak_stages, stages_in_flight);
      if (op.pass == Pass::kBackwardInput) bytes -= cost.forward_to_backward_input_bytes;
      if (op.pass == Pass::kBackwardWeight) {
        bytes -=
            cost.forward_to_backward_weight_bytes + cost.backward_input_to_backward_weight_bytes;
        --stages_in_flight;
      }
    }
    timeline.peak_activation_bytes.push_back(peak_bytes);
    timeline.peak_units.push_back(static_cast<double>(peak_stages) / orders.placement.num_chunks());
  }
}

}  // namespace

Timeline simulate(const StageOrders& orders, const CostModel& costs) {
  check_ranges(orders, costs);
  Timeline timeline;
  timeline.ranks = Replay(orders, costs).run();
  measure_time(timeline);
  measure_memory(orders, costs, timeline);
  return timeline;
}

CostModel uniform_costs(int num_stages) {
  CostModel costs;
  costs.stages.resize(static_cast<std::size_t>(num_stages));
  return costs;
}

}  // namespace halfpipe::schedule
