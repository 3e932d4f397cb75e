// SPDX-License-Identifier: Apache-2.0
// How many blocks each stage gets where no two blocks, ranks or memory limits need be alike.
// parallel/schedule/partition.h is the case of equal blocks and ranks, without memory.
#pragma once

#include <optional>
#include <vector>

#include "parallel/schedule/placement.h"

namespace halfpipe::schedule {

/// Something that every layer has an amount of, and that adds up: seconds or bytes.
struct LayerAmounts {
  double embedding = 0.0;
  std::vector<double> blocks;
  double head = 0.0;
};

/// Blocks in order are cut into stages; the first has the embedding, too, the last the head.
struct PartitionTask {
  LayerAmounts load;                  // to be balanced
  std::vector<double> rank_slowness;  // [rank], factor on the loads there
  LayerAmounts memory;
  std::vector<double> memory_limit;  // [rank]; the stages of a rank take together no more
};

/// Blocks per stage that make the heaviest rank light, within the memory limits. Among equals, as
/// far as moving single blocks finds them: a lighter heaviest stage, then a smaller sum of squares
/// of the stages' loads. The heaviest rank is as light as possible on a linear placement and on a
/// V, where dynamic programming finds it, and with equal blocks and ranks without a limit that
/// binds; elsewhere (interleaved, three chunks or more) single blocks are moved until none helps.
/// nullopt when nothing fits the limits, or, where it is not exact, when nothing was found that
/// does.
[[nodiscard]] std::optional<std::vector<int>> balance_ranks(const Placement& placement,
                                                            const PartitionTask& task);

/// The same for the heaviest stage, exactly, and memory limits do not count.
[[nodiscard]] std::vector<int> balance_stages(const Placement& placement,
                                              const PartitionTask& task);

/// The load of the heaviest rank.
[[nodiscard]] double heaviest_rank(const Placement& placement,
                                   const PartitionTask& task,
                                   const std::vector<int>& blocks_per_stage);

/// No partition within the memory limits has a heaviest rank below this; infinite when none fits.
/// Lower by up to 1e-9 of itself.
[[nodiscard]] double heaviest_rank_bound(const Placement& placement, const PartitionTask& task);

}  // namespace halfpipe::schedule
