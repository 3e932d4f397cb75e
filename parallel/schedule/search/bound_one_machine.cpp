// SPDX-License-Identifier: Apache-2.0
#include "parallel/schedule/search/bound_one_machine.h"

#include <algorithm>
#include <cstddef>

namespace halfpipe::schedule {

void OneMachine::add(double release, double seconds) {
  if (release >= end_) {
    if (release > end_) gaps_.push_back({end_, release});
    end_ = release + seconds;
    return;
  }
  // The earliest gaps after the release are filled first. They are near the back, because passes
  // come nearly in the order of their release times.
  std::size_t first = gaps_.size();
  while (first > 0 && gaps_[first - 1].end > release) --first;
  std::size_t filled = first;
  while (filled < gaps_.size() && seconds > 0.0) {
    Gap& gap = gaps_[filled];
    if (gap.start < release) {  // the part before the release stays idle
      const Gap head{gap.start, release};
      gap.start = release;
      gaps_.insert(gaps_.begin() + static_cast<std::ptrdiff_t>(filled), head);
      ++first;
      ++filled;
      continue;
    }
    if (gap.end - gap.start > seconds) {
      gap.start += seconds;
      seconds = 0.0;
      break;
    }
    seconds -= gap.end - gap.start;
    ++filled;
  }
  gaps_.erase(gaps_.begin() + static_cast<std::ptrdiff_t>(first),
              gaps_.begin() + static_cast<std::ptrdiff_t>(filled));
  end_ += seconds;
}

}  // namespace halfpipe::schedule
