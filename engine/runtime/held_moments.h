// SPDX-License-Identifier: Apache-2.0
// Which moments of the optimizer a rank holds: what it saves, and reads back.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/runtime/pipeline_trainer.h"

namespace halfpipe::runtime {

/// Elements first .. last - 1 of this rank's slice of a parameter, and where their moments lie on
/// the device, of AdamW::moment_dtype().
struct HeldMoments {
  std::int64_t first;
  std::int64_t last;
  void* first_moment;
  void* second_moment;
};

/// Of the parameter at `index` of the rank's set, all of them.
[[nodiscard]] std::vector<HeldMoments> held_moments(PipelineTrainer& trainer, std::size_t index);

/// Whether every replica holds the same moments, so that one of them saves them for all.
inline constexpr bool kReplicasHoldTheSameMoments = true;

/// How many of a parameter's elements have their moments on a rank: as held_moments will say.
[[nodiscard]] std::int64_t num_held_moments(const model::Parameter& parameter);

}  // namespace halfpipe::runtime
