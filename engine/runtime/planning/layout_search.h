// SPDX-License-Identifier: Apache-2.0
// The best layouts of a job by the cost model: the grid search of Qi et al. 2024
// (arXiv:2405.15362), without a device.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "engine/runtime/planning/job.h"
#include "engine/runtime/planning/layout.h"
#include "engine/runtime/planning/outside_passes.h"
#include "kernels/device/backend.h"

namespace halfpipe::runtime {

/// A layout, planned to the end: what `halfpipe plan` says of with_layout().
struct PlannedLayout {
  Layout layout;
  double makespan;         // seconds, from the first pass to the last
  double bubble_fraction;  // by span
  OutsidePasses outside;
  int fullest_rank;
  RankMemory memory;  // of that rank

  [[nodiscard]] double step_seconds() const { return makespan + outside.total(); }
};

/// On modelled devices of config.device.profile, whatever device.kind is.
[[nodiscard]] PlannedLayout plan_layout(const config::RunConfig& config,
                                        const Layout& layout,
                                        device::Backend& backend);

struct LayoutSearchLimits {
  std::int64_t memory_per_rank;  // bytes
  std::size_t num_best = 10;
};

struct LayoutSearchResult {
  std::vector<PlannedLayout> best;              // fastest first, num_best at most
  std::vector<PlannedLayout> best_of_schedule;  // of each schedule that has one, likewise
  std::int64_t num_layouts = 0;                 // all of the space
  std::int64_t num_passed_over = 0;             // a bound says that they are in neither list
  std::int64_t num_too_large = 0;               // of the others
  /// Only where nothing fits: what needs least. Absent where there is no layout at all.
  std::optional<PlannedLayout> smallest;
};

/// Looks at enumerate_layouts() in the order of a bound of their time and passes over those that
/// cannot be among the best: the result is that of planning every single one. Layouts that take the
/// same time are ordered by memory. Times are those of modelled devices of config.device.profile,
/// whatever device.kind is. The backend is asked for scratch sizes only.
[[nodiscard]] LayoutSearchResult search_layouts(const config::RunConfig& config,
                                                int num_ranks,
                                                const LayoutSearchLimits& limits,
                                                device::Backend& backend);

}  // namespace halfpipe::runtime
