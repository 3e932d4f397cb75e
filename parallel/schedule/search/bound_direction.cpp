// SPDX-License-Identifier: Apache-2.0
#include "parallel/schedule/search/bound_direction.h"

#include <numeric>
#include <utility>

namespace halfpipe::schedule {
namespace {

TimedStage read_stage(const StageCost& cost, int rank, bool reversed) {
  TimedStage stage{
      rank,
      {cost.forward_seconds, cost.backward_input_seconds, cost.backward_weight_seconds},
      cost.forward_to_backward_input_bytes,
      cost.forward_to_backward_weight_bytes,
      cost.backward_input_to_backward_weight_bytes};
  if (reversed) {
    std::swap(stage.seconds[0], stage.seconds[2]);
    std::swap(stage.first_to_second_bytes, stage.second_to_third_bytes);
  }
  return stage;
}

}  // namespace

std::vector<double> first_starts(const SearchProblem& problem) {
  const Placement& placement = problem.placement;
  std::vector<double> starts(static_cast<std::size_t>(placement.num_pipeline_ranks()), -1.0);
  double time = 0.0;
  for (int stage = 0; stage < placement.num_stages(); ++stage) {
    double& start = starts[static_cast<std::size_t>(placement.rank_of(stage))];
    if (start < 0.0) start = time;
    time += problem.costs.stages[static_cast<std::size_t>(stage)].forward_seconds;
    if (stage + 1 < placement.num_stages()) {
      time += problem.costs.message_seconds_between(placement.rank_of(stage),
                                                    placement.rank_of(stage + 1));
    }
  }
  return starts;
}

Direction::Direction(const SearchProblem& problem, bool reversed)
    : reversed_(reversed),
      num_micro_batches_(problem.num_micro_batches),
      costs_(problem.costs),
      hosted_(static_cast<std::size_t>(problem.placement.num_pipeline_ranks())),
      memory_limit_(problem.memory_limit),
      keeps_room_for_first_(hosted_.size(), true),
      rank_start_(hosted_.size(), 0.0) {
  std::vector<std::int64_t> unit(hosted_.size(), 0);
  for (int s = 0; s < problem.placement.num_stages(); ++s) {
    const int rank = problem.placement.rank_of(s);
    stages_.push_back(
        read_stage(problem.costs.stages[static_cast<std::size_t>(s)], rank, reversed));
    hosted_[static_cast<std::size_t>(rank)].push_back(s);
    if (reversed && stages_.back().first_to_second_bytes > 0) {
      keeps_room_for_first_[static_cast<std::size_t>(rank)] = false;
    }
    std::int64_t& divisor = unit[static_cast<std::size_t>(rank)];
    divisor = std::gcd(divisor, stages_.back().first_to_second_bytes);
    divisor = std::gcd(divisor, stages_.back().first_to_third_bytes);
    divisor = std::gcd(divisor, stages_.back().second_to_third_bytes);
  }
  for (std::size_t rank = 0; rank < unit.size(); ++rank) {
    if (unit[rank] > 0) memory_limit_[rank] -= memory_limit_[rank] % unit[rank];
  }
  if (reversed && problem.objective == Objective::kSpan) {
    // A rank that starts later may end as much later.
    rank_start_ = first_starts(problem);
    for (double& start : rank_start_) start = -start;
  }
  for (int s = 0; s < num_stages(); ++s) {
    order_.push_back({0, s});
    if (reversed) order_.push_back({1, s});
  }
  for (int s = num_stages() - 1; s >= 0; --s) {
    if (!reversed) order_.push_back({1, s});
    order_.push_back({2, s});
  }
}

double Direction::work(int rank) const {
  double seconds = 0.0;
  for (const int s : hosted(rank)) {
    seconds += stage(s).seconds[0] + stage(s).seconds[1] + stage(s).seconds[2];
  }
  return seconds * num_micro_batches_;
}

ChainInput Direction::chain_input(PhaseOfStage op) const {
  ChainInput input;
  if (op.phase == up_phase()) input.stage = op.stage - 1;
  if (op.phase == up_phase() + 1 && op.stage + 1 < num_stages()) input.stage = op.stage + 1;
  if (input.stage < 0) return input;
  // Backwards the message goes the other way through the same link.
  int from = stage(input.stage).rank;
  int to = stage(op.stage).rank;
  if (reversed_) std::swap(from, to);
  input.seconds = costs_.message_seconds_between(from, to);
  input.occupancy_seconds = costs_.occupancy_seconds_between(from, to);
  return input;
}

bool Direction::precedes(PhaseOfStage before, PhaseOfStage after) const {
  if (!on_chain(before)) {  // W: after everything, or before its own B
    return reversed_ && on_chain(after) && chain_position(after) >= before.stage;
  }
  if (!on_chain(after)) {
    return !reversed_ && chain_position(before) <= chain_position({1, after.stage});
  }
  return chain_position(before) < chain_position(after);
}

}  // namespace halfpipe::schedule
