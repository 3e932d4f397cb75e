// SPDX-License-Identifier: Apache-2.0
#include "parallel/schedule/search/bound_heads.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>

#include "parallel/schedule/search/bound_one_machine.h"

namespace halfpipe::schedule {
namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();

/// How many micro-batches of a hosted stage are past each phase.
struct StageCount {
  int first = 0;   // phase 0 started
  int second = 0;  // phase 1 ended
  int third = 0;   // phase 2 ended
};

/// What one (phase, stage) needs from its rank before its k-th pass, for k = 0, 1, ...
class HeadOfPhase {
 public:
  HeadOfPhase(const Direction& direction, const Heads& heads, PhaseOfStage op)
      : direction_(direction),
        heads_(heads),
        op_(op),
        rank_(direction.stage(op.stage).rank),
        hosted_(direction.hosted(rank_)),
        freed_(hosted_.size()),
        freed_until_(direction.rank_start(rank_)),
        machine_(direction.rank_start(rank_)),
        num_added_(3 * hosted_.size(), 0),
        num_reserved_(direction.keeps_room_for_first(rank_) ? 1 : 0) {}

  /// Must be asked for k = 0, 1, ... in turn, after the heads of all passes that come before it in
  /// the topological order of the direction.
  double next() {
    const double by_memory = op_.phase == 2 ? freed_until_ : time_of_memory();
    add_passes_before();
    ++k_;
    return std::max(by_memory, machine_end_);
  }

 private:
  [[nodiscard]] double end_of(PhaseOfStage op, int micro_batch) const {
    const std::vector<double>& starts = heads_.of(op);
    const auto index = static_cast<std::size_t>(micro_batch);
    if (index >= starts.size()) return kNever;
    return starts[index] + direction_.stage(op.stage).seconds[static_cast<std::size_t>(op.phase)];
  }

  [[nodiscard]] bool before_me(PhaseOfStage op) const { return direction_.precedes(op, op_); }
  /// How many passes of `op` may have ended when my k-th starts.
  [[nodiscard]] int most_ended(PhaseOfStage op) const {
    return op == op_ || direction_.precedes(op_, op) ? k_ : k_ + 1;
  }

  /// Least bytes of a hosted stage while my k-th pass runs, when at most `freed` have ended. Counts
  /// the room that Direction::keeps_room_for_first asks for.
  [[nodiscard]] std::int64_t least_bytes(int stage, const StageCount& freed) const {
    const TimedStage& cost = direction_.stage(stage);
    const PhaseOfStage first{0, stage};
    const PhaseOfStage second{1, stage};
    const int num_first = first == op_ || before_me(first) ? k_ + 1 : num_reserved_;
    const int third = std::min({freed.third, most_ended({2, stage}), num_first});
    int num_second = third;  // at least
    if (second == op_) num_second = k_;
    if (before_me(second)) num_second = k_ + 1;
    if (cost.first_to_second_bytes >= cost.second_to_third_bytes) {
      num_second = std::max(num_second, std::min({freed.second, most_ended(second), num_first}));
    }
    const int second_started = second == op_ ? k_ + 1 : num_second;
    return (num_first - num_second) * cost.first_to_second_bytes +
           (num_first - third) * cost.first_to_third_bytes +
           (second_started - third) * cost.second_to_third_bytes;
  }

  /// The first moment at which enough may have ended for my k-th pass to fit.
  double time_of_memory() {
    while (true) {
      std::int64_t bytes = 0;
      for (std::size_t i = 0; i < hosted_.size(); ++i) bytes += least_bytes(hosted_[i], freed_[i]);
      if (bytes <= direction_.memory_limit(rank_)) return freed_until_;
      double next = kNever;
      for (std::size_t i = 0; i < hosted_.size(); ++i) {
        next = std::min({next, end_of({1, hosted_[i]}, freed_[i].second),
                         end_of({2, hosted_[i]}, freed_[i].third)});
      }
      if (next == kNever) return kNever;
      for (std::size_t i = 0; i < hosted_.size(); ++i) {
        while (end_of({1, hosted_[i]}, freed_[i].second) <= next) ++freed_[i].second;
        while (end_of({2, hosted_[i]}, freed_[i].third) <= next) ++freed_[i].third;
      }
      freed_until_ = next;
    }
  }

  /// How many third phases of hosted stage i must have ended: without them the rank is too full
  /// even if all other stages have freed what they can.
  [[nodiscard]] int thirds_needed(std::size_t i, std::int64_t least_of_all) const {
    const TimedStage& cost = direction_.stage(hosted_[i]);
    const std::int64_t unit = std::min(cost.bytes_after_first(), cost.bytes_after_second());
    const PhaseOfStage first{0, hosted_[i]};
    if (unit == 0 || !(first == op_ || before_me(first))) return 0;
    const std::int64_t room =
        direction_.memory_limit(rank_) - (least_of_all - least_bytes(hosted_[i], kAllFreed));
    const auto in_flight = static_cast<int>(std::min<std::int64_t>(room / unit, k_ + 1));
    return std::min(k_ + 1 - in_flight, most_ended({2, hosted_[i]}));
  }

  void add_passes_before() {
    std::int64_t least_of_all = 0;
    for (const int stage : hosted_) least_of_all += least_bytes(stage, kAllFreed);
    for (std::size_t i = 0; i < hosted_.size(); ++i) {
      for (int phase = 0; phase < 3; ++phase) {
        const PhaseOfStage op{phase, hosted_[i]};
        if (op == op_) {
          add_up_to(op, i, k_);
        } else if (before_me(op)) {
          add_up_to(op, i, k_ + 1);
        }
      }
      const int thirds = op_.phase == 2 ? 0 : thirds_needed(i, least_of_all);
      if (thirds > 0) add_with_passes_before({2, hosted_[i]}, i, thirds);
    }
    machine_end_ = machine_.end();
  }

  void add_with_passes_before(PhaseOfStage last, std::size_t i, int count) {
    add_up_to(last, i, count);
    for (std::size_t other = 0; other < hosted_.size(); ++other) {
      for (int phase = 0; phase < 3; ++phase) {
        const PhaseOfStage op{phase, hosted_[other]};
        if (direction_.precedes(op, last)) add_up_to(op, other, count);
      }
    }
  }

  void add_up_to(PhaseOfStage op, std::size_t i, int count) {
    int& added = num_added_[static_cast<std::size_t>(op.phase) * hosted_.size() + i];
    const double seconds = direction_.stage(op.stage).seconds[static_cast<std::size_t>(op.phase)];
    for (; added < count; ++added) {
      machine_.add(heads_.of(op)[static_cast<std::size_t>(added)], seconds);
    }
  }

  static constexpr StageCount kAllFreed{std::numeric_limits<int>::max(),
                                        std::numeric_limits<int>::max(),
                                        std::numeric_limits<int>::max()};

  const Direction& direction_;
  const Heads& heads_;
  PhaseOfStage op_;
  int rank_;
  const std::vector<int>& hosted_;
  int k_ = 0;
  std::vector<StageCount> freed_;  // [hosted] what may have ended by freed_until_
  double freed_until_;
  OneMachine machine_;  // with all passes of the rank that must come before
  double machine_end_ = 0.0;
  std::vector<int> num_added_;  // [phase][hosted] to machine_
  int num_reserved_;            // micro-batches of every hosted stage for which there must be room
};

/// Where each pass of the micro-batch before, or of this one so far, ends.
class LastEnds {
 public:
  explicit LastEnds(const Direction& direction)
      : direction_(direction),
        num_stages_(direction.num_stages()),
        ends_(static_cast<std::size_t>(3 * num_stages_)) {
    for (int phase = 0; phase < 3; ++phase) {
      for (int s = 0; s < num_stages_; ++s) {
        of({phase, s}) = direction.rank_start(direction.stage(s).rank);
      }
    }
  }

  [[nodiscard]] double& of(PhaseOfStage op) {
    return ends_[static_cast<std::size_t>(op.phase * num_stages_ + op.stage)];
  }

  /// When the inputs of the next pass of `op` are there and its stage has done the one before.
  [[nodiscard]] double inputs_of(PhaseOfStage op) {
    double ready = of(op);
    if (op.phase > 0) ready = std::max(ready, of({op.phase - 1, op.stage}));
    const int input = direction_.chain_input_stage(op);
    if (input >= 0) {
      ready = std::max(ready, of({op.phase, input}) + direction_.hand_over(input, op.stage));
    }
    return ready;
  }

 private:
  const Direction& direction_;
  int num_stages_;
  std::vector<double> ends_;  // [phase][stage]
};

}  // namespace

Heads earliest_starts(const Direction& direction, const std::vector<bool>& counted) {
  Heads heads(direction.num_stages());
  const std::vector<PhaseOfStage>& order = direction.topological_order();
  std::vector<std::optional<HeadOfPhase>> phases(order.size());
  for (std::size_t i = 0; i < order.size(); ++i) {
    const int rank = direction.stage(order[i].stage).rank;
    if (!counted[static_cast<std::size_t>(rank)]) continue;
    phases[i].emplace(direction, heads, order[i]);
    heads.of(order[i]).reserve(static_cast<std::size_t>(direction.num_micro_batches()));
  }
  LastEnds ends(direction);
  for (int k = 0; k < direction.num_micro_batches(); ++k) {
    for (std::size_t i = 0; i < order.size(); ++i) {
      const PhaseOfStage op = order[i];
      double start = ends.inputs_of(op);
      if (phases[i]) {
        start = std::max(start, phases[i]->next());
        heads.of(op).push_back(start);
      }
      ends.of(op) = start + direction.stage(op.stage).seconds[static_cast<std::size_t>(op.phase)];
    }
  }
  return heads;
}

}  // namespace halfpipe::schedule
