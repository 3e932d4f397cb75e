// SPDX-License-Identifier: Apache-2.0
#include "parallel/schedule/search/instance.h"

#include <algorithm>
#include <string>

#include "parallel/schedule/schedule_error.h"

namespace halfpipe::schedule {
namespace {

void check(const SearchProblem& problem) {
  const auto stages = static_cast<std::size_t>(problem.placement.num_stages());
  const auto ranks = static_cast<std::size_t>(problem.placement.num_pipeline_ranks());
  if (problem.costs.stages.size() != stages) {
    throw ScheduleError("a search over " + std::to_string(stages) + " stages got costs of " +
                        std::to_string(problem.costs.stages.size()));
  }
  if (problem.memory_limit.size() != ranks) {
    throw ScheduleError("a search over " + std::to_string(ranks) + " ranks got memory limits of " +
                        std::to_string(problem.memory_limit.size()));
  }
  if (problem.num_micro_batches < 1) {
    throw ScheduleError("a search needs at least one micro-batch, not " +
                        std::to_string(problem.num_micro_batches));
  }
}

void set_bytes(const StageCost& cost, Row& row) {
  switch (row.pass) {
    case Pass::kForward:
      row.rise = cost.forward_to_backward_input_bytes + cost.forward_to_backward_weight_bytes;
      row.net = row.rise;
      return;
    case Pass::kBackwardInput:
      row.rise = cost.backward_input_to_backward_weight_bytes;
      row.net = row.rise - cost.forward_to_backward_input_bytes;
      return;
    case Pass::kBackwardWeight:
      row.rise = 0;
      row.net =
          -cost.forward_to_backward_weight_bytes - cost.backward_input_to_backward_weight_bytes;
      return;
  }
}

Row make_row(const SearchProblem& problem, Pass pass, int stage) {
  const Placement& placement = problem.placement;
  const StageCost& cost = problem.costs.stages[static_cast<std::size_t>(stage)];
  Row row{};
  row.pass = pass;
  row.stage = stage;
  row.rank = placement.rank_of(stage);
  row.chunk = placement.chunk_of(stage);
  row.seconds = cost.seconds(pass);
  row.input_row = kNoRow;
  row.consumer_row = kNoRow;
  row.consumer_rank = kNoRow;
  set_bytes(cost, row);
  if (pass == Pass::kBackwardWeight) return row;
  const int step = pass == Pass::kForward ? 1 : -1;
  const int first_row = static_cast<int>(pass) * placement.num_stages();
  const auto exists = [&](int other) { return other >= 0 && other < placement.num_stages(); };
  if (const int before = stage - step; exists(before)) {
    row.input_row = first_row + before;
    row.input_delay = problem.costs.message_seconds_between(placement.rank_of(before), row.rank);
  }
  if (const int after = stage + step; exists(after)) {
    row.consumer_row = first_row + after;
    row.consumer_rank = placement.rank_of(after);
  }
  return row;
}

}  // namespace

Instance::Instance(const SearchProblem& problem)
    : placement(problem.placement),
      objective(problem.objective),
      num_ranks(problem.placement.num_pipeline_ranks()),
      num_stages(problem.placement.num_stages()),
      num_micro_batches(problem.num_micro_batches),
      memory_limit(problem.memory_limit),
      rank_seconds(static_cast<std::size_t>(num_ranks), 0.0) {
  check(problem);
  for (const Pass pass : {Pass::kForward, Pass::kBackwardInput, Pass::kBackwardWeight}) {
    for (int stage = 0; stage < num_stages; ++stage) {
      rows.push_back(make_row(problem, pass, stage));
      rank_seconds[static_cast<std::size_t>(rows.back().rank)] += rows.back().seconds;
    }
  }
  busiest_seconds = *std::max_element(rank_seconds.begin(), rank_seconds.end());
  double sum = 0.0;
  for (const double seconds : rank_seconds) sum += seconds;
  mean_pass_seconds = sum / static_cast<double>(rows.size());
  // What a sum over the whole step would lose to rounding counts as none.
  const double least = 1e-9 * busiest_seconds * num_micro_batches;
  has_passes_of_no_time =
      std::any_of(rows.begin(), rows.end(), [=](const Row& row) { return row.seconds <= least; });
}

RowOrders Instance::rows_of(const StageOrders& orders) const {
  RowOrders result(orders.ranks.size());
  for (std::size_t rank = 0; rank < orders.ranks.size(); ++rank) {
    result[rank].reserve(orders.ranks[rank].size());
    for (const PassOp& op : orders.ranks[rank]) {
      result[rank].push_back({row_of(op.pass, op.stage), op.micro_batch});
    }
  }
  return result;
}

StageOrders Instance::orders_of(const RowOrders& orders, const std::string& name) const {
  StageOrders result{name, placement, num_micro_batches, {}};
  result.ranks.resize(orders.size());
  for (std::size_t rank = 0; rank < orders.size(); ++rank) {
    result.ranks[rank].reserve(orders[rank].size());
    for (const RowOp op : orders[rank]) {
      result.ranks[rank].push_back({row(op.row).pass, row(op.row).stage, op.micro_batch});
    }
  }
  return result;
}

bool fits_memory(const Instance& instance, const RowOrders& orders) {
  for (std::size_t rank = 0; rank < orders.size(); ++rank) {
    std::int64_t live = 0;
    for (const RowOp op : orders[rank]) {
      const Row& row = instance.row(op.row);
      if (live + row.rise > instance.memory_limit[rank]) return false;
      live += row.net;
    }
  }
  return true;
}

}  // namespace halfpipe::schedule
