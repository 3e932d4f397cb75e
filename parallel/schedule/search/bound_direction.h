// SPDX-License-Identifier: Apache-2.0
// A search problem read forwards or backwards in time. A lower bound asks the same questions at
// both ends of a schedule: how soon can a pass start, and how little may follow it? Reversed, the
// second question is the first one.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "parallel/schedule/search/problem.h"

namespace halfpipe::schedule {

/// The three passes of a stage in the order of the clock: F, B, W forwards and W, B, F backwards.
struct TimedStage {
  int rank;
  std::array<double, 3> seconds;  // [phase]
  // Bytes from the start of one phase to the end of another.
  std::int64_t first_to_second_bytes;
  std::int64_t first_to_third_bytes;
  std::int64_t second_to_third_bytes;

  /// What one micro-batch holds after its first phase, and at least after its second.
  [[nodiscard]] std::int64_t bytes_after_first() const {
    return first_to_second_bytes + first_to_third_bytes;
  }
  [[nodiscard]] std::int64_t bytes_after_second() const {
    return first_to_third_bytes + second_to_third_bytes;
  }
};

/// What a chain pass reads from a neighbour stage: its own phase there.
struct ChainInput {
  int stage = -1;                  // -1: it reads nothing
  double seconds = 0.0;            // of the message
  double occupancy_seconds = 0.0;  // how much later the next message on this way comes at least
};

/// A phase of a stage; with a micro-batch it is a pass.
struct PhaseOfStage {
  int phase;
  int stage;
  friend bool operator==(const PhaseOfStage&, const PhaseOfStage&) = default;
};

/// Chain passes follow one another for each micro-batch: up the stages in one phase and down again
/// in the next (F and B; backwards B and F). W hangs off the chain: after B, or before it.
class Direction {
 public:
  Direction(const SearchProblem& problem, bool reversed);

  [[nodiscard]] int num_stages() const { return static_cast<int>(stages_.size()); }
  [[nodiscard]] int num_micro_batches() const { return num_micro_batches_; }
  [[nodiscard]] const TimedStage& stage(int stage) const {
    return stages_[static_cast<std::size_t>(stage)];
  }
  /// Stages of one rank, ascending.
  [[nodiscard]] const std::vector<int>& hosted(int rank) const {
    return hosted_[static_cast<std::size_t>(rank)];
  }
  /// Bytes; rounded down to what sums of this rank's lifetimes can reach.
  [[nodiscard]] std::int64_t memory_limit(int rank) const {
    return memory_limit_[static_cast<std::size_t>(rank)];
  }
  /// While the first micro-batch has not ended its third phase on a stage of the rank, the rank
  /// must keep room for it beside all that is in flight on its other stages: none of their bytes
  /// can be freed before that micro-batch has had its first phase there. Forwards all B of a rank
  /// wait for F of micro-batch 0 on all its stages. Backwards all F wait for W of the last
  /// micro-batch, but B need not, so there must be nothing that B frees.
  [[nodiscard]] bool keeps_room_for_first(int rank) const {
    return keeps_room_for_first_[static_cast<std::size_t>(rank)];
  }
  /// No pass of the rank starts before. Time 0 is the first start of all ranks; backwards it is
  /// the moment at which the rank that started first has used up its span.
  [[nodiscard]] double rank_start(int rank) const {
    return rank_start_[static_cast<std::size_t>(rank)];
  }
  /// Work of the rank for all micro-batches, seconds.
  [[nodiscard]] double work(int rank) const;

  /// Phases in an order in which those of one micro-batch can run.
  [[nodiscard]] const std::vector<PhaseOfStage>& topological_order() const { return order_; }
  [[nodiscard]] ChainInput chain_input(PhaseOfStage op) const;
  /// Whether `before` of a micro-batch must end before `after` of the same micro-batch starts.
  [[nodiscard]] bool precedes(PhaseOfStage before, PhaseOfStage after) const;

 private:
  [[nodiscard]] int up_phase() const { return reversed_ ? 1 : 0; }
  [[nodiscard]] bool on_chain(PhaseOfStage op) const {
    return op.phase == up_phase() || op.phase == up_phase() + 1;
  }
  [[nodiscard]] int chain_position(PhaseOfStage op) const {
    return op.phase == up_phase() ? op.stage : 2 * num_stages() - 1 - op.stage;
  }

  bool reversed_;
  int num_micro_batches_;
  CostModel costs_;
  std::vector<TimedStage> stages_;
  std::vector<std::vector<int>> hosted_;  // [rank]
  std::vector<std::int64_t> memory_limit_;
  std::vector<bool> keeps_room_for_first_;  // [rank]
  std::vector<double> rank_start_;
  std::vector<PhaseOfStage> order_;
};

/// When the rank's first F starts if every stage takes micro-batches in order: it follows the first
/// passes of the ranks before it, [rank], seconds.
[[nodiscard]] std::vector<double> first_starts(const SearchProblem& problem);

}  // namespace halfpipe::schedule
