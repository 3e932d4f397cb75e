// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/state/held_moments.h"

#include <cstddef>

namespace halfpipe::runtime {

std::vector<HeldMoments> held_moments(const optimizer::AdamW& adamw, std::size_t index) {
  auto* first = static_cast<std::byte*>(adamw.first_moment(index));
  auto* second = static_cast<std::byte*>(adamw.second_moment(index));
  std::vector<HeldMoments> held;
  for (const optimizer::ElementRange& range : adamw.moment_ranges(index)) {
    held.push_back({range.begin, range.end, first, second});
    const std::size_t bytes =
        static_cast<std::size_t>(range.count()) * size_of(adamw.moment_dtype());
    first += bytes;
    second += bytes;
  }
  return held;
}

}  // namespace halfpipe::runtime
