// SPDX-License-Identifier: Apache-2.0
// The table that a job prints after its last step: what was planned beside what the machine counts.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/runtime/step/early_step.h"

namespace halfpipe::runtime {

/// Memory of one rank, in bytes.
struct RankPeak {
  std::int64_t planned;   // everything that Halfpipe takes for the job
  std::int64_t resident;  // high-water mark of its process
  std::int64_t process;   // local ranks share one
};

/// A line for each process: planned, peak resident, and what lies outside the plan: the program's
/// code, MPI's buffers, what libraries keep inside.
[[nodiscard]] std::string end_report(const std::vector<RankPeak>& ranks);

/// Seconds of every step in which messages between replicas were all that a job did, on the rank
/// that waited longest.
struct ExposedExchange {
  std::vector<double> gradients;   // between a rank's last pass and the last of its sums
  std::vector<double> parameters;  // of a sharded optimizer, after its step
};

/// Of `steps`, on the rank that put most back. A line that ends with a line break.
[[nodiscard]] std::string early_line(const EarlySteps& early, std::int64_t steps);

/// The medians, in a line that ends with a line break.
[[nodiscard]] std::string exchange_line(const ExposedExchange& exposed);

}  // namespace halfpipe::runtime
