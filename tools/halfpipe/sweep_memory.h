// SPDX-License-Identifier: Apache-2.0
// How much bubble a job has for how much activation memory: a search for each of a row of limits,
// and the named schedules beside them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/config/run_config.h"
#include "parallel/schedule/placement.h"

namespace halfpipe::tools {

/// A schedule of the job. Times in forward passes of a block, messages free.
struct SweptSchedule {
  std::string name;  // "auto" for what a search found
  schedule::Placement placement;
  std::int64_t peak_bytes;  // of the activation arena, on the fullest rank
  double cost;              // of the objective
  double bubble_fraction;   // by span
  double bubble_fraction_makespan;
};

/// The best schedule known for a limit, searched or named, on the placements of a search.
struct SweepPoint {
  std::int64_t memory_limit;  // bytes of activations per rank
  SweptSchedule schedule;
  double lower_bound;  // of the cost, whatever the stages, on the placements of a search
};

struct MemorySweep {
  config::RunConfig config;
  double unit_bytes;      // one micro-batch on 1/p of the model, as schedule.memory_limit counts it
  double work_per_rank;   // the job's work divided by its ranks, in forward passes of a block
  double search_seconds;  // of all searches together
  std::vector<SweepPoint> points;    // by rising limit: cost and bound never rise
  std::vector<SweptSchedule> named;  // what the catalogue has for the job

  /// Share of all ranks' time in which a rank waits, if a step takes `cost`: bubble and imbalance.
  /// Unlike bubble_fraction it compares schedules whose stages are cut differently.
  [[nodiscard]] double idle_share(double cost) const;
};

struct SweepBudget {
  double seconds;            // of search, for each limit
  std::int64_t evaluations;  // in place of seconds if above 0: the same sweep everywhere
};

/// Limits at equal ratios; what the best named schedules take is searched besides.
inline constexpr int kSweepPoints = 12;

/// For the objective of the configuration; its schedule.name and schedule.memory_limit do not
/// matter. The smallest limit is, to within a hundredth, the smallest that has a schedule; the
/// largest is what 1F1B takes, or as much more as gains more than a thousandth. Throws
/// ScheduleError when the job has no schedule at all.
[[nodiscard]] MemorySweep sweep_memory(const config::RunConfig& config, const SweepBudget& budget);

}  // namespace halfpipe::tools
