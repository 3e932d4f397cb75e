// SPDX-License-Identifier: Apache-2.0
// A parameter that tensor ranks share, put together again.
#pragma once

#include <span>
#include <vector>

#include "engine/model/parameter.h"
#include "parallel/transport/transport.h"

namespace halfpipe::runtime {

/// The whole of a parameter whose slices the ranks of the group hold, without padding; `mine` is
/// this rank's, in host memory. Collective; empty on all ranks but the first.
[[nodiscard]] std::vector<float> gather_whole(const model::Parameter& parameter,
                                              const model::TensorShard& shard,
                                              std::span<const float> mine,
                                              transport::Transport& ranks);

}  // namespace halfpipe::runtime
