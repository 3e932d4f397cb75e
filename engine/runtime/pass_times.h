// SPDX-License-Identifier: Apache-2.0
// How long the passes of one rank take, from the times that its executor reads.
#pragma once

#include <array>
#include <cstddef>
#include <vector>

#include "engine/runtime/executor.h"
#include "parallel/schedule/pass.h"
#include "parallel/schedule/plan.h"

namespace halfpipe::runtime {

class PassTimes {
 public:
  /// `program` is what the times of each step belong to.
  PassTimes(schedule::RankPlan program, int num_chunks);

  /// The times of one step: one per instruction of the program.
  void add(const std::vector<InstructionTime>& times);

  /// Seconds of each pass: the median over all micro-batches of all steps, which is what a pass
  /// takes when nothing comes between.
  using StageTimes = std::array<double, schedule::kNumPasses>;
  [[nodiscard]] std::vector<StageTimes> medians() const;  // [chunk]

 private:
  schedule::RankPlan program_;
  std::vector<std::array<std::vector<double>, schedule::kNumPasses>> seconds_;  // [chunk][pass]
};

}  // namespace halfpipe::runtime
