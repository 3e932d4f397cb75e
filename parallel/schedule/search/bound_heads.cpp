// SPDX-License-Identifier: Apache-2.0
#include "parallel/schedule/search/bound_heads.h"

#include <algorithm>
#include <limits>
#include <optional>

#include "parallel/schedule/search/bound_one_machine.h"
#include "parallel/schedule/search/bound_room.h"

namespace halfpipe::schedule {
namespace {

/// The head of one (phase, stage) of a counted rank, for its passes k = 0, 1, ...
class HeadOfPhase {
 public:
  HeadOfPhase(const Direction& direction, const Heads& heads, PhaseOfStage op)
      : direction_(direction),
        heads_(heads),
        op_(op),
        hosted_(direction.hosted(direction.stage(op.stage).rank)),
        room_(direction, heads, op),
        machine_(direction.rank_start(direction.stage(op.stage).rank)) {
    for (std::size_t i = 0; i < hosted_.size(); ++i) {
      for (int phase = 0; phase < 3; ++phase) {
        const PhaseOfStage other{phase, hosted_[i]};
        others_.push_back({other, 0, direction.precedes(other, op), {}});
        for (const int last : hosted_) {
          others_.back().before_third.push_back(direction.precedes(other, {2, last}) ||
                                                other == PhaseOfStage{2, last});
        }
      }
    }
  }

  /// Must be asked for k = 0, 1, ... in turn, after the heads of all passes that come before it in
  /// the topological order of the direction.
  double next() {
    double start = direction_.rank_start(direction_.stage(op_.stage).rank);
    if (op_.phase != 2) start = room_.time_for(k_);
    add_passes_before();
    ++k_;
    return std::max(start, machine_.end());
  }

 private:
  struct Other {
    PhaseOfStage op;
    int num_added;                   // to machine_
    bool before;                     // pass k needs its k-th
    std::vector<bool> before_third;  // [hosted]: that stage's third phase needs it, or is it
  };

  /// What the rank must have done before pass k: what it needs, the passes before it of its own
  /// kind, and what has to free memory for it with all that that needs.
  void add_passes_before() {
    for (Other& other : others_) {
      if (other.op == op_) add_up_to(other, k_);
      if (other.before) add_up_to(other, k_ + 1);
    }
    for (std::size_t i = 0; i < hosted_.size(); ++i) {
      const int thirds = room_.thirds_needed(i, k_);
      if (thirds <= 0) continue;
      for (Other& other : others_) {
        if (other.before_third[i]) add_up_to(other, thirds);
      }
    }
  }

  void add_up_to(Other& other, int count) {
    const double seconds =
        direction_.stage(other.op.stage).seconds[static_cast<std::size_t>(other.op.phase)];
    for (; other.num_added < count; ++other.num_added) {
      machine_.add(heads_.of(other.op)[static_cast<std::size_t>(other.num_added)], seconds);
    }
  }

  const Direction& direction_;
  const Heads& heads_;
  PhaseOfStage op_;
  const std::vector<int>& hosted_;
  int k_ = 0;
  RoomOfPhase room_;
  OneMachine machine_;         // with all passes of the rank that must come before
  std::vector<Other> others_;  // all phases of the rank's stages
};

/// Follows the passes of all stages along the chain.
class Chain {
 public:
  explicit Chain(const Direction& direction)
      : num_stages_(direction.num_stages()),
        ends_(static_cast<std::size_t>(3 * num_stages_)),
        inputs_(ends_.size()),
        arrivals_(ends_.size(), -std::numeric_limits<double>::infinity()) {
    for (int phase = 0; phase < 3; ++phase) {
      for (int s = 0; s < num_stages_; ++s) {
        end_of({phase, s}) = direction.rank_start(direction.stage(s).rank);
        inputs_[index({phase, s})] = direction.chain_input({phase, s});
      }
    }
  }

  /// The last pass of `op` so far.
  [[nodiscard]] double& end_of(PhaseOfStage op) { return ends_[index(op)]; }

  /// When the next pass of `op` has its inputs and its stage has done the one before.
  [[nodiscard]] double next_start(PhaseOfStage op) {
    double start = end_of(op);
    if (op.phase > 0) start = std::max(start, end_of({op.phase - 1, op.stage}));
    const ChainInput& input = inputs_[index(op)];
    if (input.stage < 0) return start;
    double& arrival = arrivals_[index(op)];
    arrival = std::max(arrival + input.occupancy_seconds,
                       end_of({op.phase, input.stage}) + input.seconds);
    return std::max(start, arrival);
  }

 private:
  [[nodiscard]] std::size_t index(PhaseOfStage op) const {
    return static_cast<std::size_t>(op.phase * num_stages_ + op.stage);
  }
  int num_stages_;
  std::vector<double> ends_;  // [phase][stage]
  std::vector<ChainInput> inputs_;
  std::vector<double> arrivals_;  // of the last message
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
  Chain chain(direction);
  for (int k = 0; k < direction.num_micro_batches(); ++k) {
    for (std::size_t i = 0; i < order.size(); ++i) {
      const PhaseOfStage op = order[i];
      double start = chain.next_start(op);
      if (phases[i]) {
        start = std::max(start, phases[i]->next());
        heads.of(op).push_back(start);
      }
      chain.end_of(op) =
          start + direction.stage(op.stage).seconds[static_cast<std::size_t>(op.phase)];
    }
  }
  return heads;
}

}  // namespace halfpipe::schedule
