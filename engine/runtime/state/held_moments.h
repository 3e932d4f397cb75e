// SPDX-License-Identifier: Apache-2.0
// Which moments of the optimizer a rank holds: what it saves, and reads back.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/optimizer/adamw.h"

namespace halfpipe::runtime {

/// Elements first .. last - 1 of this rank's slice of a parameter, and where their moments lie on
/// the device, of AdamW::moment_dtype().
struct HeldMoments {
  std::int64_t first;
  std::int64_t last;
  void* first_moment;
  void* second_moment;
};

/// Of the parameter at `index` of the rank's set, in the order of its elements.
[[nodiscard]] std::vector<HeldMoments> held_moments(const optimizer::AdamW& adamw,
                                                    std::size_t index);

}  // namespace halfpipe::runtime
