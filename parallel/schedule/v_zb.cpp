// SPDX-License-Identifier: Apache-2.0
#include "parallel/schedule/v_zb.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <utility>
#include <vector>

#include "parallel/schedule/place_weight_passes.h"

namespace halfpipe::schedule {
namespace {

/// Writes one rank's F and B. Every rank fills the time until its first B comes back with forwards:
/// chunk 0 alone until the first micro-batch returns, then both chunks in turn; the steady state
/// runs one F and one B of either chunk in turn.
class RankPattern {
 public:
  RankPattern(const Placement& placement, int rank, int num_micro_batches)
      : stages_{placement.stage_of(rank, 0), placement.stage_of(rank, 1)},
        num_micro_batches_(num_micro_batches) {}

  std::vector<PassOp> write(int p, int rank) {
    // The pattern needs 2p micro-batches; it is written for as many, less those that do not exist.
    const int num_rounds = std::max(num_micro_batches_, 2 * p);
    const int hops = p - 1 - rank;
    for (int i = 0; i < 2 * hops + 1; ++i) add(Pass::kForward, 0);
    for (int i = 0; i < rank; ++i) {
      add(Pass::kForward, 1);
      add(Pass::kForward, 0);
    }
    for (int i = 0; i < hops + 1; ++i) {
      add(Pass::kForward, 1);
      add(Pass::kBackwardInput, 1);
    }
    for (int i = 0; i < num_rounds; ++i) {
      add(Pass::kForward, 0);
      add(Pass::kBackwardInput, 0);
      add(Pass::kForward, 1);
      add(Pass::kBackwardInput, 1);
    }
    return std::move(ops_);
  }

 private:
  void add(Pass pass, std::size_t chunk) {
    int& next = next_[static_cast<std::size_t>(pass)][chunk];
    if (next < num_micro_batches_) ops_.push_back({pass, stages_[chunk], next});
    ++next;
  }

  std::array<int, 2> stages_;  // of chunk 0 and 1
  int num_micro_batches_;
  std::array<std::array<int, 2>, kNumPasses> next_{};  // micro-batch of the next [pass][chunk]
  std::vector<PassOp> ops_;
};

}  // namespace

StageOrders v_zb_orders(int num_pipeline_ranks, int num_micro_batches, const CostModel& costs) {
  const Placement placement(PlacementKind::kV, num_pipeline_ranks, 2);
  StageOrders orders{"v-zb", placement, num_micro_batches, {}};
  for (int rank = 0; rank < num_pipeline_ranks; ++rank) {
    orders.ranks.push_back(
        RankPattern(placement, rank, num_micro_batches).write(num_pipeline_ranks, rank));
  }
  return best_weight_placement({orders}, costs, /*max_in_flight=*/2 * num_pipeline_ranks);
}

}  // namespace halfpipe::schedule
