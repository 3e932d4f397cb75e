// SPDX-License-Identifier: Apache-2.0
#include "parallel/schedule/interleaved.h"

#include <algorithm>
#include <vector>

namespace halfpipe::schedule {
namespace {

struct ChunkTurn {
  int chunk;
  int micro_batch;
};

/// What the index-th forward of a rank works on. Backwards take the chunks in reverse.
ChunkTurn forward_turn(int index, int p, int num_chunks) {
  const int group = index / (p * num_chunks);
  const int within = index % (p * num_chunks);
  return {within / p, group * p + within % p};
}

/// Forwards before the first backward. With one chunk the first backward comes back after one trip
/// to the last rank; with more, a rank must also have sent the first group through its other
/// chunks.
int num_warmup_forwards(int rank, int p, int num_chunks) {
  const int ranks_behind = p - 1 - rank;
  return num_chunks == 1 ? ranks_behind : 2 * ranks_behind + (num_chunks - 1) * p;
}

}  // namespace

StageOrders interleaved_orders(int num_pipeline_ranks, int num_micro_batches, int num_chunks) {
  const int p = num_pipeline_ranks;
  const Placement placement(PlacementKind::kInterleaved, p, num_chunks);
  StageOrders orders{"interleaved", placement, num_micro_batches, {}};
  const int num_groups = (num_micro_batches + p - 1) / p;
  const int total = num_groups * p * num_chunks;  // forwards per rank, the lacking ones included
  for (int rank = 0; rank < p; ++rank) {
    std::vector<PassOp>& ops = orders.ranks.emplace_back();
    const auto add = [&](Pass pass, const ChunkTurn& turn) {
      if (turn.micro_batch >= num_micro_batches) return;
      ops.push_back({pass, placement.stage_of(rank, turn.chunk), turn.micro_batch});
    };
    const int warmup = std::min(total, num_warmup_forwards(rank, p, num_chunks));
    for (int i = 0; i < warmup; ++i) add(Pass::kForward, forward_turn(i, p, num_chunks));
    for (int i = 0; i < total; ++i) {
      if (warmup + i < total) add(Pass::kForward, forward_turn(warmup + i, p, num_chunks));
      ChunkTurn turn = forward_turn(i, p, num_chunks);
      turn.chunk = num_chunks - 1 - turn.chunk;
      add(Pass::kBackwardInput, turn);
      add(Pass::kBackwardWeight, turn);
    }
  }
  return orders;
}

}  // namespace halfpipe::schedule
