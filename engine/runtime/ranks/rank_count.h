// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/config/run_config.h"

namespace halfpipe::runtime {

/// Throws ConfigError, with the ways to start the right number, unless the job has as many ranks as
/// its configuration wants.
void check_rank_count(const config::RunConfig& config, int world_size);

/// On modelled devices one pipeline may stand for all replicas, or every replica be there; tensor
/// ranks never are. Returns how many replicas run; throws ConfigError for any other count.
[[nodiscard]] int check_modelled_rank_count(const config::RunConfig& config, int world_size);

}  // namespace halfpipe::runtime
