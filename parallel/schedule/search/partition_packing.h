// SPDX-License-Identifier: Apache-2.0
// Whether the blocks can be cut into stages so that nobody carries more than a given load, exactly:
// with this a bisection finds the least load that is possible.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "parallel/schedule/placement.h"
#include "parallel/schedule/search/partition_layers.h"

namespace halfpipe::schedule {

class Packing {
 public:
  Packing(const Placement& placement, const PartitionTask& task);

  /// Blocks per stage with no stage (slowness counted) above `most`. On a linear placement a stage
  /// is a rank: `within_memory` then keeps the limits.
  [[nodiscard]] std::optional<std::vector<int>> pack_stages(double most, bool within_memory) const;

  /// On a V: blocks per stage with no rank above `most` and all within their memory.
  [[nodiscard]] std::optional<std::vector<int>> pack_v(double most) const;

 private:
  struct Load {
    double load;
    double memory;
  };
  /// Blocks from `first` to the one before `end`.
  [[nodiscard]] Load blocks(std::size_t first, std::size_t end) const;
  [[nodiscard]] bool fits(std::size_t rank, Load load, double most, bool within_memory) const;

  Placement placement_;
  const PartitionTask& task_;
  std::vector<double> load_before_;    // [block]: of all blocks before it
  std::vector<double> memory_before_;  // [block]
};

}  // namespace halfpipe::schedule
