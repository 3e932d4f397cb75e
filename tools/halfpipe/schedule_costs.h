// SPDX-License-Identifier: Apache-2.0
// What passes, messages and activations cost under `halfpipe schedule`: by its options, or by the
// file that they name.
#pragma once

#include <optional>

#include "parallel/schedule/cost_model.h"
#include "parallel/schedule/placement.h"
#include "tools/costs/stage_costs_file.h"
#include "tools/halfpipe/schedule_options.h"

namespace halfpipe::tools {

class ScheduleCosts {
 public:
  /// Reads options.stage_costs where there is one. Throws ConfigError or FileError for a file that
  /// cannot be used, for bytes whose sums are beyond 64 bits, and for passes so short beside others
  /// that sums of times would lose them.
  explicit ScheduleCosts(const ScheduleOptions& options);

  /// True when the stages of a file can be joined into the placement's, or there is no file.
  [[nodiscard]] bool fit(const schedule::Placement& placement) const;
  /// Without bytes in a file, lifetimes count units: a stage keeps its part of one from F to W.
  /// Throws FileError where the file does not fit.
  [[nodiscard]] schedule::CostModel on(const schedule::Placement& placement) const;

  /// A file says what stages keep; otherwise units of memory alone have a meaning.
  [[nodiscard]] bool have_bytes() const { return file_ && file_->has_bytes; }
  /// What one unit is in the lifetimes: what one micro-batch keeps on 1/ranks of the model, all
  /// three lifetimes of a stage together, as they are while its B runs.
  [[nodiscard]] double unit_bytes() const { return unit_bytes_; }

 private:
  int num_ranks_;
  schedule::StageCost per_rank_;  // seconds, without a file
  double message_seconds_;        // likewise
  std::optional<costs::StageCostsFile> file_;
  double unit_bytes_;
};

}  // namespace halfpipe::tools
