// SPDX-License-Identifier: Apache-2.0
#include "engine/runtime/pass_times.h"

#include <algorithm>
#include <utility>

#include "kernels/core/error.h"

namespace halfpipe::runtime {

namespace {

/// 0 where nothing was measured.
double median_of(std::vector<double> values) {
  if (values.empty()) return 0.0;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>((values.size() - 1) / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace

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
