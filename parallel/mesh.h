// SPDX-License-Identifier: Apache-2.0
// The ranks of a job as a grid: replicas of a pipeline. Rank = replica x pipeline ranks + pipeline
// rank, so that the ranks of one pipeline are neighbours.
#pragma once

#include <vector>

namespace halfpipe::parallel {

struct Mesh {
  int data = 1;      // replicas
  int pipeline = 1;  // ranks of each

  [[nodiscard]] int num_ranks() const { return data * pipeline; }
  [[nodiscard]] int replica_of(int rank) const { return rank / pipeline; }
  [[nodiscard]] int pipeline_rank_of(int rank) const { return rank % pipeline; }
  [[nodiscard]] int rank_at(int replica, int pipeline_rank) const {
    return replica * pipeline + pipeline_rank;
  }

  /// The pipeline of a rank, by pipeline rank.
  [[nodiscard]] std::vector<int> pipeline_group(int rank) const {
    std::vector<int> ranks;
    for (int i = 0; i < pipeline; ++i) ranks.push_back(rank_at(replica_of(rank), i));
    return ranks;
  }
  /// The ranks that hold the same layers as a rank, by replica.
  [[nodiscard]] std::vector<int> data_group(int rank) const {
    std::vector<int> ranks;
    for (int i = 0; i < data; ++i) ranks.push_back(rank_at(i, pipeline_rank_of(rank)));
    return ranks;
  }
};

}  // namespace halfpipe::parallel
