// SPDX-License-Identifier: Apache-2.0
// What `halfpipe plan` says of a job's step: the tables of its start, its messages, an estimate of
// its time. As text and as JSON.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/runtime/planning/job.h"
#include "engine/runtime/planning/outside_passes.h"
#include "parallel/schedule/simulate.h"
#include "tools/halfpipe/message_volume.h"

namespace halfpipe::tools {

/// Times are modelled. On modelled devices they are seconds of passes and messages; elsewhere a
/// block's forward pass is one unit, other passes as many as their matrix products have
/// floating-point operations, units become seconds with a rate, and messages, embedding,
/// normalisations and the optimizer step take no time.
struct PlannedStep {
  runtime::Job job;  // its costs in units
  int threads_per_rank;
  std::vector<runtime::RankMemory> memory;  // [rank]
  std::vector<LinkVolume> messages;
  double flops_per_unit;
  std::optional<double> flops_per_second;  // of a rank; not on modelled devices
  // In seconds, or in units.
  schedule::CostModel costs;
  schedule::Timeline timeline;
  runtime::OutsidePasses outside;  // on modelled devices; elsewhere nothing

  /// From the first pass to the end of the optimizer step, as the timeline counts.
  [[nodiscard]] double step_time() const { return timeline.makespan + outside.total(); }
  [[nodiscard]] bool in_seconds() const;
  /// What a time of the job's costs is in those of the timeline.
  [[nodiscard]] double scale() const {
    return flops_per_second ? flops_per_unit / *flops_per_second : 1.0;
  }
  /// Of the timeline, for pictures: empty for seconds.
  [[nodiscard]] std::string time_unit() const {
    return in_seconds() ? "" : "forward passes of a block";
  }
  /// "v-half: 4 pipeline ranks, 8 micro-batches"
  [[nodiscard]] std::string title() const;
};

[[nodiscard]] PlannedStep plan_step(runtime::Job job,
                                    std::vector<runtime::RankMemory> memory,
                                    int threads_per_rank,
                                    std::optional<double> flops_per_second);

/// All that the command prints.
[[nodiscard]] std::string planned_step_text(const PlannedStep& step);

/// The object of schedule_json, and in it besides, before "rows":
/// "time_unit": "block_forwards" | "seconds" (of "span", "makespan", "rows"),
/// "configuration": {key: value as YAML text},
/// "device": {"kind", "threads_per_rank"} or {"kind", "hardware"},
/// "model": {"num_parameters", "flops_per_token"},
/// "stage_map": [{"stage", "rank", "chunk", "first_block", "num_blocks", "embedding", "head"}],
/// "search": null | {"objective", "memory_limit": [bytes by rank], "cost", "lower_bound", "reason",
///   "stages_bound", "stages_reason", "seconds"} (cost and bounds in block forwards, on modelled
///   devices in seconds; the second bound is for the stages of "stage_map"),
/// "memory": [{"rank", "parameters", "gradients", "optimizer", "activations",
///   "activations_without_head", "activations_arena", "messages", "workspace", "batch",
///   "checkpoint_copy", "total"}] (bytes),
/// "memory_shortage": null, or which rank needs more than a modelled device has,
/// "messages": {"bytes_each", "count", "bytes", "tied_gradient_bytes",
///   "links": [{"from_rank", "to_rank", "activations", "gradients", "bytes"}]},
/// "step": {"block_forwards", "flops_per_block_forward", "flops_per_second", "seconds",
///   "outside_passes", "tokens_per_second"} (null without a rate; on modelled devices the first
///   three are null, elsewhere "outside_passes" is; "seconds" are those of the passes, the rate
///   counts both).
[[nodiscard]] std::string planned_step_json(const PlannedStep& step);

}  // namespace halfpipe::tools
