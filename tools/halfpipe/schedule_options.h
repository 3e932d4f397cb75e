// SPDX-License-Identifier: Apache-2.0
// What `halfpipe schedule` is asked.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "parallel/schedule/search/problem.h"

namespace halfpipe::tools {

struct ScheduleOptions {
  std::string name = "v-half";
  int num_ranks = 4;
  int num_micro_batches = 8;
  int num_chunks = 2;
  // Of one micro-batch on one rank, over all its chunks.
  double forward = 1.0;
  double backward_input = 1.0;
  double backward_weight = 1.0;
  double message = 0.0;
  std::string stage_costs;  // a file in place of the four above; empty: none
  bool exact = false;       // named orders as the textbook has them
  // For auto, units: one for all ranks or one for each; none: num_ranks, what 1F1B needs.
  std::vector<double> memory_limit;
  // Of a search.
  schedule::Objective objective = schedule::Objective::kSpan;
  double seconds = 1.0;
  std::int64_t evaluations = 0;
  std::uint64_t seed = 1;

  std::vector<std::string> compare;
  std::string json;
  std::string svg;
  std::string html;
  std::string trace;
};

/// The most chunks per rank that "auto" tries.
inline constexpr int kMostSearchedChunks = 6;
/// A schedule may have no more passes: its timeline, pages and JSON must fit into memory.
inline constexpr std::int64_t kMostPasses = std::int64_t{1} << 24U;

}  // namespace halfpipe::tools
