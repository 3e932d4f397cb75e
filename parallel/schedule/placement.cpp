// SPDX-License-Identifier: Apache-2.0
#include "parallel/schedule/placement.h"

#include <string>

#include "parallel/schedule/schedule_error.h"

namespace halfpipe::schedule {

const char* name_of(PlacementKind kind) {
  switch (kind) {
    case PlacementKind::kLinear:
      return "linear";
    case PlacementKind::kInterleaved:
      return "interleaved";
    case PlacementKind::kV:
      return "V";
    case PlacementKind::kZigzag:
      return "zigzag";
  }
  return "";
}

Placement::Placement(PlacementKind kind, int num_pipeline_ranks, int num_chunks)
    : kind_(kind), num_pipeline_ranks_(num_pipeline_ranks), num_chunks_(num_chunks) {
  if (num_pipeline_ranks < 1 || num_chunks < 1) {
    throw ScheduleError("a placement needs at least one pipeline rank and one chunk, not " +
                        std::to_string(num_pipeline_ranks) + " and " + std::to_string(num_chunks));
  }
  if (kind == PlacementKind::kLinear && num_chunks != 1) {
    throw ScheduleError("a linear placement has one chunk per rank, not " +
                        std::to_string(num_chunks));
  }
  if (kind == PlacementKind::kV && num_chunks != 2) {
    throw ScheduleError("a V placement has two chunks per rank, not " + std::to_string(num_chunks));
  }
  if (kind == PlacementKind::kZigzag && num_chunks == 1) kind_ = PlacementKind::kLinear;
  if (kind == PlacementKind::kZigzag && num_chunks == 2) kind_ = PlacementKind::kV;
}

int Placement::rank_of(int stage) const {
  const int chunk = chunk_of(stage);
  const int position = stage - chunk * num_pipeline_ranks_;
  return goes_up(chunk) ? num_pipeline_ranks_ - 1 - position : position;
}

int Placement::stage_of(int pipeline_rank, int chunk) const {
  const int position = goes_up(chunk) ? num_pipeline_ranks_ - 1 - pipeline_rank : pipeline_rank;
  return chunk * num_pipeline_ranks_ + position;
}

}  // namespace halfpipe::schedule
