// SPDX-License-Identifier: Apache-2.0
#include "tests/parallel/schedule/sample_orders.h"

#include <algorithm>
#include <cstddef>
#include <vector>

namespace halfpipe::schedule {
namespace {

StageOrders empty_orders(const char* name, const Placement& placement, int num_micro_batches) {
  StageOrders orders{name, placement, num_micro_batches, {}};
  orders.ranks.resize(static_cast<std::size_t>(placement.num_pipeline_ranks()));
  return orders;
}

void append_backward(std::vector<PassOp>& ops, int stage, int micro_batch) {
  ops.push_back({Pass::kBackwardInput, stage, micro_batch});
  ops.push_back({Pass::kBackwardWeight, stage, micro_batch});
}

}  // namespace

StageOrders all_forward_all_backward(const Placement& placement, int num_micro_batches) {
  StageOrders orders = empty_orders("all-forward-all-backward", placement, num_micro_batches);
  for (int rank = 0; rank < placement.num_pipeline_ranks(); ++rank) {
    std::vector<PassOp>& ops = orders.ranks[static_cast<std::size_t>(rank)];
    for (int chunk = 0; chunk < placement.num_chunks(); ++chunk) {
      for (int m = 0; m < num_micro_batches; ++m) {
        ops.push_back({Pass::kForward, placement.stage_of(rank, chunk), m});
      }
    }
    for (int chunk = placement.num_chunks() - 1; chunk >= 0; --chunk) {
      for (int m = 0; m < num_micro_batches; ++m) {
        append_backward(ops, placement.stage_of(rank, chunk), m);
      }
    }
  }
  return orders;
}

StageOrders one_forward_one_backward(int num_pipeline_ranks, int num_micro_batches) {
  StageOrders orders =
      empty_orders("one-forward-one-backward",
                   Placement(PlacementKind::kLinear, num_pipeline_ranks, 1), num_micro_batches);
  for (int rank = 0; rank < num_pipeline_ranks; ++rank) {
    std::vector<PassOp>& ops = orders.ranks[static_cast<std::size_t>(rank)];
    int forward = 0;
    for (int m = 0; m < num_micro_batches; ++m) {
      const int ahead = std::min(num_micro_batches, m + num_pipeline_ranks - rank);
      while (forward < ahead) ops.push_back({Pass::kForward, rank, forward++});
      append_backward(ops, rank, m);
    }
  }
  return orders;
}

StageOrders random_orders(const Placement& placement, int num_micro_batches, std::mt19937& random) {
  StageOrders orders = empty_orders("random", placement, num_micro_batches);
  const int num_stages = placement.num_stages();
  std::vector<int> done(static_cast<std::size_t>(num_stages * kNumPasses), 0);
  const auto num_done = [&](Pass pass, int stage) -> int& {
    return done[static_cast<std::size_t>(stage * kNumPasses + static_cast<int>(pass))];
  };
  const auto is_ready = [&](Pass pass, int stage) {
    const int next = num_done(pass, stage);
    if (next == num_micro_batches) return false;
    if (pass == Pass::kForward) return stage == 0 || num_done(pass, stage - 1) > next;
    if (pass == Pass::kBackwardWeight) return num_done(Pass::kBackwardInput, stage) > next;
    return num_done(Pass::kForward, stage) > next &&
           (stage == num_stages - 1 || num_done(pass, stage + 1) > next);
  };
  while (true) {
    std::vector<PassOp> ready;
    for (int stage = 0; stage < num_stages; ++stage) {
      for (const Pass pass : {Pass::kForward, Pass::kBackwardInput, Pass::kBackwardWeight}) {
        if (is_ready(pass, stage)) ready.push_back({pass, stage, num_done(pass, stage)});
      }
    }
    if (ready.empty()) return orders;
    const PassOp op = ready[random() % ready.size()];
    orders.ranks[static_cast<std::size_t>(placement.rank_of(op.stage))].push_back(op);
    ++num_done(op.pass, op.stage);
  }
}

CostModel even_costs(const Placement& placement) {
  StageCost cost;
  cost.forward_to_backward_input_bytes = 128;
  cost.forward_to_backward_weight_bytes = 256;
  cost.backward_input_to_backward_weight_bytes = 64;
  CostModel costs;
  costs.stages.assign(static_cast<std::size_t>(placement.num_stages()), cost);
  costs.message_bytes = 32;
  return costs;
}

CostModel random_costs(const Placement& placement, std::mt19937& random) {
  const auto bytes = [&] {
    return random() % 4 == 0 ? 0 : static_cast<std::int64_t>(random() % 5000);
  };
  const auto seconds = [&] { return 0.1 + static_cast<double>(random() % 100) / 50.0; };
  CostModel costs;
  for (int stage = 0; stage < placement.num_stages(); ++stage) {
    costs.stages.push_back({seconds(), seconds(), seconds(), bytes(), bytes(), bytes()});
  }
  costs.message_seconds = static_cast<double>(random() % 10) / 20.0;
  costs.message_bytes = 4096;
  return costs;
}

}  // namespace halfpipe::schedule
