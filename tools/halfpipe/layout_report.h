// SPDX-License-Identifier: Apache-2.0
// What `halfpipe plan --search` prints.
#pragma once

#include <string>

#include "engine/config/run_config.h"
#include "engine/runtime/planning/layout_search.h"

namespace halfpipe::tools {

struct LayoutReport {
  config::RunConfig config;  // with a hardware profile
  int num_ranks;
  std::int64_t memory_per_rank;  // bytes
  runtime::LayoutSearchResult found;
  double seconds;  // that the search took
};

/// A table of the best layouts, and below it the best of each schedule that has none among them.
[[nodiscard]] std::string layout_table(const LayoutReport& report);

/// "data 4 x tensor 1 x pipeline 8, micro-batches of 2, v-half, recompute none, zero_stage 1"
[[nodiscard]] std::string layout_text(const runtime::Layout& layout);

/// {"ranks", "hardware", "memory_per_rank", "layouts", "passed_over", "too_large",
///  "seconds", "best": [layout], "best_of_schedule": [layout]}, a layout being {"data", "tensor",
///  "pipeline", "micro_batch_size", "schedule", "num_chunks", "recompute", "zero_stage",
///  "gather_again", "tokens_per_second", "mfu", "step_seconds", "makespan", "bubble",
///  "tied_gradient_seconds", "exchange_seconds", "shared_gradient_seconds", "update_seconds",
///  "fullest_rank", "memory": {"parameters", "gradients", "optimizer", "activations_arena",
///  "messages", "workspace", "batch", "total"}} (bytes of that rank).
[[nodiscard]] std::string layout_json(const LayoutReport& report);

}  // namespace halfpipe::tools
