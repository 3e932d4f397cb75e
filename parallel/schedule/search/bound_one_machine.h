// SPDX-License-Identifier: Apache-2.0
// One rank's clock in the relaxation of Jackson's preemptive schedule: passes have release times
// and may be interrupted. What cannot be done by then under these rules cannot be done at all.
#pragma once

#include <vector>

namespace halfpipe::schedule {

class OneMachine {
 public:
  explicit OneMachine(double start) : end_(start) {}

  /// When all passes given so far are done, at the earliest.
  [[nodiscard]] double end() const { return end_; }
  /// One pass more; in any order.
  void add(double release, double seconds);

 private:
  struct Gap {
    double start;
    double end;
  };
  std::vector<Gap> gaps_;  // idle time before end_, ascending
  double end_;
};

}  // namespace halfpipe::schedule
