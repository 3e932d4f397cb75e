// SPDX-License-Identifier: Apache-2.0
#include "random_problem.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "parallel/schedule/pass_graph.h"
#include "parallel/schedule/search/lower_bound.h"

namespace halfpipe::schedule {
namespace {

Placement random_placement(std::mt19937& random, const ProblemSizes& most) {
  const int num_ranks = draw(random, 1, most.ranks);
  const int num_chunks = draw(random, 2, std::max(2, most.stages / num_ranks));
  switch (draw(random, 0, 3)) {
    case 0:
      return {PlacementKind::kLinear, num_ranks, 1};
    case 1:
      return {PlacementKind::kV, num_ranks, 2};
    case 2:
      return {PlacementKind::kZigzag, num_ranks, num_chunks};
    default:
      return {PlacementKind::kInterleaved, num_ranks, num_chunks};
  }
}

StageCost random_stage(std::mt19937& random) {
  StageCost cost;
  cost.forward_seconds = draw(random, 1, 3);
  cost.backward_input_seconds = draw(random, 1, 3);
  cost.backward_weight_seconds = draw(random, draw(random, 0, 4) == 0 ? 0 : 1, 3);
  cost.forward_to_backward_weight_bytes = draw(random, 0, 3);
  if (cost.forward_to_backward_weight_bytes == 0 || draw(random, 0, 3) == 0) {
    cost.forward_to_backward_input_bytes = draw(random, 0, 2);
    cost.backward_input_to_backward_weight_bytes = draw(random, 0, 2);
  }
  return cost;
}

void scale(StageCost& cost, double factor) {
  cost.forward_seconds *= factor;
  cost.backward_input_seconds *= factor;
  cost.backward_weight_seconds *= factor;
}

void random_links(std::mt19937& random, int num_ranks, CostModel& costs) {
  costs.message_bytes = 2;
  costs.one_message_at_a_time = draw(random, 0, 1) == 0;
  for (int from = 0; from < num_ranks; ++from) {
    costs.links.emplace_back();
    for (int to = 0; to < num_ranks; ++to) {
      costs.links.back().push_back({0.5 * draw(random, 0, 2), draw(random, 0, 2) == 0 ? 1.0 : 4.0});
    }
  }
}

}  // namespace

int draw(std::mt19937& random, int lowest, int highest) {
  const auto count = static_cast<std::uint32_t>(highest - lowest + 1);
  return lowest + static_cast<int>(random() % count);
}

SearchProblem random_problem(std::mt19937& random, const ProblemSizes& most) {
  const Placement placement = random_placement(random, most);
  CostModel costs;
  const bool equal = draw(random, 0, 2) == 0;
  for (int stage = 0; stage < placement.num_stages(); ++stage) {
    costs.stages.push_back(equal && stage > 0 ? costs.stages.front() : random_stage(random));
  }
  costs.message_seconds = 0.5 * draw(random, 0, 2);
  if (draw(random, 0, 1) == 0) {
    for (StageCost& stage : costs.stages) scale(stage, 0.1);
    costs.message_seconds *= 0.1;
  }
  if (draw(random, 0, 4) == 0) random_links(random, placement.num_pipeline_ranks(), costs);
  std::vector<std::int64_t> limit = smallest_memory_limit(placement, costs);
  const int most_spare = draw(random, 0, 1) == 0 ? 2 : 6;
  for (std::int64_t& bytes : limit) bytes += draw(random, 0, most_spare);
  const int num_micro_batches = draw(random, 1, most.micro_batches);
  const Objective objective = draw(random, 0, 3) == 0 ? Objective::kMakespan : Objective::kSpan;
  return {placement, num_micro_batches, costs, limit, objective};
}

StageOrders random_orders(std::mt19937& random, const SearchProblem& problem) {
  const int num_stages = problem.placement.num_stages();
  StageOrders orders{"random", problem.placement, problem.num_micro_batches, {}};
  orders.ranks.resize(static_cast<std::size_t>(problem.placement.num_pipeline_ranks()));
  const auto count = static_cast<std::size_t>(num_stages * kNumPasses);
  std::vector<int> done(count, 0);
  const auto done_of = [&](const PassOp& op) -> int& {
    return done[static_cast<std::size_t>(static_cast<int>(op.pass) * num_stages + op.stage)];
  };
  const std::array<int, kNumPasses> liking{1, draw(random, 1, 20), draw(random, 1, 20)};
  const std::size_t total = count * static_cast<std::size_t>(problem.num_micro_batches);
  for (std::size_t taken = 0; taken < total; ++taken) {
    std::vector<PassOp> lots;
    for (int pass = 0; pass < kNumPasses; ++pass) {
      for (int stage = 0; stage < num_stages; ++stage) {
        PassOp op{static_cast<Pass>(pass), stage, 0};
        op.micro_batch = done_of(op);
        if (op.micro_batch == problem.num_micro_batches) continue;
        bool ready = true;
        for (const auto& input : {own_input(op), neighbour_input(op, num_stages)}) {
          ready = ready && (!input || done_of(*input) > op.micro_batch);
        }
        if (ready) {
          lots.insert(lots.end(), static_cast<std::size_t>(liking[static_cast<std::size_t>(pass)]),
                      op);
        }
      }
    }
    const PassOp op =
        lots[static_cast<std::size_t>(draw(random, 0, static_cast<int>(lots.size()) - 1))];
    ++done_of(op);
    orders.ranks[static_cast<std::size_t>(problem.placement.rank_of(op.stage))].push_back(op);
  }
  return orders;
}

}  // namespace halfpipe::schedule
