// SPDX-License-Identifier: Apache-2.0
// What each replica of a rank does for all of them: which sums of gradients it adds up, and which
// elements it steps.
#pragma once

#include <cstddef>
#include <vector>

#include "engine/config/run_config.h"
#include "engine/model/parameter.h"
#include "engine/optimizer/element_ranges.h"
#include "engine/optimizer/optimizer_config.h"
#include "engine/runtime/step/gradient_buckets.h"

namespace halfpipe::runtime {

struct ReplicaParts {
  std::vector<GradientBucket> buckets;  // empty with one replica
  /// [replica][parameter]: what a replica steps, with optimizer.zero_stage 1. Else of one replica
  /// alone, and all do the same.
  std::vector<std::vector<optimizer::ElementRanges>> stepped;

  [[nodiscard]] bool is_sharded() const { return stepped.size() > 1; }
  [[nodiscard]] const std::vector<optimizer::ElementRanges>& stepped_by(int replica) const {
    return stepped[is_sharded() ? static_cast<std::size_t>(replica) : 0];
  }
  /// What every replica takes for moments: as much as the one that steps most.
  [[nodiscard]] std::size_t moment_bytes(DType dtype) const;
  /// What it takes for steps before they are decided: early_step_bytes.
  [[nodiscard]] std::size_t early_step_bytes(const config::RunConfig& config) const;
};

/// Of one rank's parameters, whose gradients are final group by group.
[[nodiscard]] ReplicaParts replica_parts(const config::RunConfig& config,
                                         const std::vector<model::Parameter>& parameters,
                                         const std::vector<int>& gradient_groups);

}  // namespace halfpipe::runtime
