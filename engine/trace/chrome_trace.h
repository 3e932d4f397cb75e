// SPDX-License-Identifier: Apache-2.0
// The measured timeline of a step in the Trace Event Format that Perfetto and chrome://tracing
// open.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace halfpipe::trace {

/// One bar on a rank's track.
struct TraceSpan {
  std::string name;      // "F3", "wait_recv", ...
  std::string category;  // "forward", "backward_input", "backward_weight", "communication"
  int stage = -1;        // -1: none
  int micro_batch = -1;
  double start = 0.0;  // seconds
  double end = 0.0;
};

/// One track per rank. Throws RuntimeFailure naming the file.
void write_chrome_trace(const std::filesystem::path& path,
                        const std::vector<std::vector<TraceSpan>>& ranks);

}  // namespace halfpipe::trace
