// SPDX-License-Identifier: Apache-2.0
// Places byte ranges with known lifetimes in one arena (offline dynamic storage allocation).
#pragma once

#include <cstdint>
#include <vector>

namespace halfpipe::schedule {

/// `bytes` that live from position `first` to position `last`, both included.
struct LiveRange {
  int first;
  int last;
  std::int64_t bytes;
  std::int64_t offset = 0;  // the result
};

/// Highest sum of bytes that live at one position: no arena can be smaller.
[[nodiscard]] std::int64_t peak_of(const std::vector<LiveRange>& ranges);

/// Sets every offset so that ranges alive at the same position never overlap; returns the arena's
/// size. Offsets are sums of sizes, so they keep any alignment that all sizes have. The problem is
/// NP-hard: this tries several orders of placing, repairs each for a bounded number of steps, and
/// stops as soon as the peak is reached. Deterministic. Beyond the bound on steps the time grows
/// with the number of ranges times the number of different offsets; the latter is fixed where only
/// so many micro-batches live at once, however many there are.
std::int64_t pack(std::vector<LiveRange>& ranges);

}  // namespace halfpipe::schedule
