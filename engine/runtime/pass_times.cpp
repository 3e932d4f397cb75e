// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/pass_times.h"

#include <utility>

#include "engine/runtime/median.h"
#include "kernels/core/error.h"

namespace halfpipe::runtime {

PassTimes::PassTimes(schedule::RankPlan program, int num_chunks)
    : program_(std::move(program)), seconds_(static_cast<std::size_t>(num_chunks)) {}

void PassTimes::add(const std::vector<InstructionTime>& times) {
  HALFPIPE_CHECK(times.size() == program_.instructions.size(), "times of another program");
  for (std::size_t i = 0; i < times.size(); ++i) {
    const schedule::Instruction& instruction = program_.instructions[i];
    const auto op = schedule::pass_of(instruction);
    if (!op) continue;
    seconds_[static_cast<std::size_t>(instruction.chunk)][static_cast<std::size_t>(op->pass)]
        .push_back(times[i].end - times[i].start);
  }
}

std::vector<PassTimes::StageTimes> PassTimes::medians() const {
  std::vector<StageTimes> all(seconds_.size());
  for (std::size_t chunk = 0; chunk < all.size(); ++chunk) {
    for (std::size_t pass = 0; pass < schedule::kNumPasses; ++pass) {
      all[chunk][pass] = median_of(seconds_[chunk][pass]);
    }
  }
  return all;
}

}  // namespace halfpipe::runtime
