// SPDX-License-Identifier: Apache-2.0
// Starts the ranks of a job: processes of a launcher, or threads of this one.
#pragma once

#include <functional>
#include <optional>

#include "parallel/transport/transport.h"

namespace halfpipe::tools {

/// Runs rank_main once per rank. With local_ranks, that many threads of this process are the ranks;
/// without, this process is one rank of the MPI job that started it, or the only rank when no
/// launcher did. local_ranks under a launcher is refused.
///
/// What rank_main throws is reported here, once: an AgreedError by rank 0, anything else by the
/// rank that it came from, which then ends the whole job, ranks that stand still included. Throws
/// ReportedError with the exit code.
void run_ranks(std::optional<int> local_ranks,
               const std::function<void(transport::Transport&)>& rank_main);

}  // namespace halfpipe::tools
