// SPDX-License-Identifier: Apache-2.0
#include "parallel/schedule/check_timeline.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <string_view>
#include <utility>
#include <vector>

#include "parallel/schedule/link_clock.h"
#include "parallel/schedule/pass_graph.h"

namespace halfpipe::schedule {
namespace {

using Violation = std::optional<std::string>;

std::string words(const PassOp& op) {
  constexpr std::array<std::string_view, kNumPasses> kNames = {"forward", "backward_input",
                                                               "backward_weight"};
  return std::string(kNames[static_cast<std::size_t>(op.pass)]) + " of stage " +
         std::to_string(op.stage) + ", micro-batch " + std::to_string(op.micro_batch);
}

std::string at_rank(std::size_t rank) {
  return "rank " + std::to_string(rank);
}

class TimelineCheck {
 public:
  TimelineCheck(const Timeline& timeline,
                const Placement& placement,
                int num_micro_batches,
                const CostModel& costs)
      : timeline_(timeline),
        placement_(placement),
        num_micro_batches_(num_micro_batches),
        costs_(costs),
        rounding_(1e-9 * std::max(timeline.makespan, 0.0)),
        times_(placement.num_stages(), num_micro_batches, kNotRun),
        places_(placement.num_stages(), num_micro_batches, 0),
        arrivals_(placement.num_stages(), num_micro_batches, 0.0) {}

  Violation run() {
    if (timeline_.ranks.size() != static_cast<std::size_t>(placement_.num_pipeline_ranks())) {
      return "the timeline has " + std::to_string(timeline_.ranks.size()) + " ranks";
    }
    for (const auto rule : {&TimelineCheck::passes, &TimelineCheck::inputs, &TimelineCheck::figures,
                            &TimelineCheck::memory}) {
      if (Violation violation = (this->*rule)()) return violation;
    }
    return std::nullopt;
  }

 private:
  static constexpr std::pair<double, double> kNotRun = {-1.0, -1.0};

  [[nodiscard]] bool exists(const PassOp& op) const {
    return op.stage >= 0 && op.stage < placement_.num_stages() && op.micro_batch >= 0 &&
           op.micro_batch < num_micro_batches_;
  }
  [[nodiscard]] const StageCost& cost_of(const PassOp& op) const {
    return costs_.stages[static_cast<std::size_t>(op.stage)];
  }
  [[nodiscard]] bool equal(double one, double other) const {
    return std::abs(one - other) <= rounding_;
  }

  /// Each pass once, where and when its rank can run it, as long as it costs.
  Violation passes() {
    std::map<std::pair<Pass, int>, int> next;  // micro-batch of each pass of a stage
    std::size_t count = 0;
    for (std::size_t rank = 0; rank < timeline_.ranks.size(); ++rank) {
      double free = -std::numeric_limits<double>::infinity();
      for (const TimedPass& timed : timeline_.ranks[rank]) {
        const PassOp& op = timed.op;
        const std::string here = at_rank(rank) + ": " + words(op);
        if (!exists(op)) return here + ": there is no such pass";
        if (placement_.rank_of(op.stage) != static_cast<int>(rank)) {
          return here + ": rank " + std::to_string(placement_.rank_of(op.stage)) +
                 " hosts the stage";
        }
        if (times_[op] != kNotRun) return here + ": runs a second time";
        if (next[{op.pass, op.stage}]++ != op.micro_batch)
          return here + ": not in micro-batch order";
        if (timed.start < free - rounding_) return here + ": starts before the pass in front ends";
        if (!equal(timed.end - timed.start, cost_of(op).seconds(op.pass))) {
          return here + ": takes " + std::to_string(timed.end - timed.start) + ", it costs " +
                 std::to_string(cost_of(op).seconds(op.pass));
        }
        times_[op] = {timed.start, timed.end};
        places_[op] = static_cast<std::size_t>(&timed - timeline_.ranks[rank].data());
        free = timed.end;
        ++count;
      }
    }
    const std::size_t all = static_cast<std::size_t>(kNumPasses) *
                            static_cast<std::size_t>(placement_.num_stages()) *
                            static_cast<std::size_t>(num_micro_batches_);
    if (count == all) return std::nullopt;
    return std::to_string(all - count) + " of " + std::to_string(all) + " passes do not run";
  }

  /// A rank sends in the order in which its passes end.
  void send_messages() {
    LinkClock links(costs_, placement_.num_pipeline_ranks());
    for (std::size_t rank = 0; rank < timeline_.ranks.size(); ++rank) {
      for (const TimedPass& timed : timeline_.ranks[rank]) {
        const auto consumer = neighbour_consumer(timed.op, placement_.num_stages());
        if (!consumer) continue;
        arrivals_[*consumer] =
            links.arrival(static_cast<int>(rank), placement_.rank_of(consumer->stage), timed.end);
      }
    }
  }

  Violation inputs() {
    send_messages();
    for (std::size_t rank = 0; rank < timeline_.ranks.size(); ++rank) {
      for (const TimedPass& timed : timeline_.ranks[rank]) {
        const auto own = own_input(timed.op);
        if (own && timed.start < times_[*own].second - rounding_) {
          return at_rank(rank) + ": " + words(timed.op) + ": starts before the " + words(*own) +
                 " ends";
        }
        if (timed.start < arrivals_[timed.op] - rounding_) {
          return at_rank(rank) + ": " + words(timed.op) + ": starts before its input arrives";
        }
      }
    }
    return std::nullopt;
  }

  Violation figures() {
    double first = std::numeric_limits<double>::infinity();
    double last = 0.0;
    double span = 0.0;
    for (const std::vector<TimedPass>& passes : timeline_.ranks) {
      if (passes.empty()) continue;
      first = std::min(first, passes.front().start);
      last = std::max(last, passes.back().end);
      span = std::max(span, passes.back().end - passes.front().start);
    }
    if (!equal(span, timeline_.span)) return "the span is " + std::to_string(span);
    if (!equal(last - first, timeline_.makespan)) {
      return "the makespan is " + std::to_string(last - first);
    }
    return std::nullopt;
  }

  Violation memory() {
    for (std::size_t rank = 0; rank < timeline_.ranks.size(); ++rank) {
      const auto [bytes, stages] = peaks(timeline_.ranks[rank]);
      if (bytes != timeline_.peak_activation_bytes[rank]) {
        return at_rank(rank) + " keeps " + std::to_string(bytes) + " bytes at its peak";
      }
      if (static_cast<double>(stages) / placement_.num_chunks() != timeline_.peak_units[rank]) {
        return at_rank(rank) + " keeps " + std::to_string(stages) +
               " stage activations at its peak";
      }
    }
    return std::nullopt;
  }

  /// Bytes, and activations of a stage, at their most: a rank's passes do not overlap, so what it
  /// keeps during a pass depends on its place in the list.
  [[nodiscard]] std::pair<std::int64_t, std::int64_t> peaks(
      const std::vector<TimedPass>& passes) const {
    std::vector<std::int64_t> bytes(passes.size() + 1, 0);  // change at this place
    std::vector<std::int64_t> stages(passes.size() + 1, 0);
    const auto keep = [](std::vector<std::int64_t>& changes, std::size_t first, std::size_t last,
                         std::int64_t amount) {
      changes[first] += amount;
      changes[last + 1] -= amount;
    };
    for (const TimedPass& timed : passes) {
      const PassOp& op = timed.op;
      if (op.pass != Pass::kForward) continue;
      const std::size_t forward = places_[op];
      const std::size_t input = places_[{Pass::kBackwardInput, op.stage, op.micro_batch}];
      const std::size_t weight = places_[{Pass::kBackwardWeight, op.stage, op.micro_batch}];
      const StageCost& cost = cost_of(op);
      keep(bytes, forward, input, cost.forward_to_backward_input_bytes);
      keep(bytes, forward, weight, cost.forward_to_backward_weight_bytes);
      keep(bytes, input, weight, cost.backward_input_to_backward_weight_bytes);
      keep(stages, forward, weight, 1);
    }
    return {highest_sum(bytes), highest_sum(stages)};
  }

  [[nodiscard]] static std::int64_t highest_sum(const std::vector<std::int64_t>& changes) {
    std::int64_t sum = 0;
    std::int64_t highest = 0;
    for (const std::int64_t change : changes) {
      sum += change;
      highest = std::max(highest, sum);
    }
    return highest;
  }

  const Timeline& timeline_;
  const Placement& placement_;
  int num_micro_batches_;
  const CostModel& costs_;
  double rounding_;
  PassTable<std::pair<double, double>> times_;  // start and end
  PassTable<std::size_t> places_;               // in its rank's list
  PassTable<double> arrivals_;                  // of a pass's input on its rank
};

}  // namespace

std::optional<std::string> first_violation(const Timeline& timeline,
                                           const Placement& placement,
                                           int num_micro_batches,
                                           const CostModel& costs) {
  return TimelineCheck(timeline, placement, num_micro_batches, costs).run();
}

}  // namespace halfpipe::schedule
