// SPDX-License-Identifier: Apache-2.0
// Found before NVIDIA's header of this name: the ranges that a profiler would see.
#pragma once

#include <string>
#include <vector>

namespace halfpipe::cuda_emulation {

/// Of this thread, in the order of their calls: names of ranges that begin, "" for one that ends.
inline std::vector<std::string>& profiler_ranges() {
  thread_local std::vector<std::string> ranges;
  return ranges;
}

}  // namespace halfpipe::cuda_emulation

inline int nvtxRangePushA(const char* name) {
  halfpipe::cuda_emulation::profiler_ranges().emplace_back(name);
  return 0;
}
inline int nvtxRangePop() {
  halfpipe::cuda_emulation::profiler_ranges().emplace_back("");
  return 0;
}
