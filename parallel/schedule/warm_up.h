// SPDX-License-Identifier: Apache-2.0
// The warm-up of a plan: the instructions that every rank can run while the step before is not
// decided yet, and that all ranks can run again from the start, should it be decided otherwise
// (optimizer.post_validation; Qi et al. 2023, arXiv:2401.10241, section 4).
#pragma once

#include <cstddef>
#include <vector>

#include "parallel/schedule/plan.h"

namespace halfpipe::schedule {

/// Of one rank. Indices are those of its instructions.
struct WarmUp {
  /// The first so many: forward passes, and the messages that they need and make. No gradient is
  /// written, none is waited for, and every activation that is waited for is sent in the warm-up of
  /// its sender.
  std::size_t num_instructions = 0;
  /// Receives among them of messages that are sent later: to be posted after the warm-up, in this
  /// order. On every channel they come behind those of the warm-up.
  std::vector<std::size_t> later_posts;
  /// Receives of what is sent in the warm-up of the sender and is not waited for in this one, in
  /// the order in which a rank that runs its warm-up again has to finish them first. The others
  /// among them have been posted in the warm-up.
  std::vector<std::size_t> posts_to_make;       // kPostRecv
  std::vector<std::size_t> receives_to_finish;  // kWaitRecv
  std::vector<std::size_t> sends_to_finish;     // kWaitSend, of what the warm-up has sent
};

/// [ranks]. The largest warm-ups that are possible with these orders; none of an evaluation plan.
[[nodiscard]] std::vector<WarmUp> warm_ups(const Plan& plan);

}  // namespace halfpipe::schedule
