// SPDX-License-Identifier: Apache-2.0
// The taste of a list scheduler: how a micro-batch would like to travel, how much memory early
// chunks may take, when W passes run. A search over schedules of this kind is one over these
// numbers.
#pragma once

#include <limits>
#include <vector>

namespace halfpipe::schedule {

/// Times are in mean passes of the problem unless they say otherwise.
struct ListPolicy {
  /// A micro-batch travels 2v legs: F through chunks 0 .. v-1, then B through chunks v-1 .. 0.
  /// hop_gaps[leg] is what it would wait per hop beyond the pass itself; turn_gaps[leg] what it
  /// would wait between legs `leg` and `leg` + 1. They order passes, they do not delay them.
  std::vector<double> hop_gaps;   // [2v]
  std::vector<double> turn_gaps;  // [2v - 1]
  /// Between two micro-batches, in work of the busiest rank.
  double interval = 1.0;
  /// Share of a rank's memory for all chunks but the last: cap on rank 0, and what it loses up to
  /// the last rank.
  double early_cap = 0.9;
  double early_cap_slope = 0.35;
  /// Added to that cap on each rank, in what one micro-batch takes on its first chunk: [rank], or
  /// empty.
  std::vector<double> cap_shift;
  /// A W passes before an F or B whose target is this much later than its own B's.
  double weight_delay = std::numeric_limits<double>::infinity();
  /// Share of a W that may hang over into the time of a pass that is known to arrive.
  double weight_overhang = 0.0;
  /// An F starts at most this much before its target.
  double eagerness = std::numeric_limits<double>::infinity();
  /// An F that lacks only memory, and would be first, gets it by a W.
  bool weights_make_room = false;
  /// Added to the targets of F and B of every stage: [2 * num_stages], or empty.
  std::vector<double> target_noise;
};

}  // namespace halfpipe::schedule
