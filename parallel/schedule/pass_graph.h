// SPDX-License-Identifier: Apache-2.0
// What every pass waits for, and a table with one value per pass: the dependency graph that
// unrolling, list scheduling and simulation share.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "parallel/schedule/pass.h"

namespace halfpipe::schedule {

/// The pass of a neighbouring stage whose output `op` reads: F of the stage before, B of the stage
/// after; none for F of the first stage, B of the last stage, and W.
[[nodiscard]] std::optional<PassOp> neighbour_input(const PassOp& op, int num_stages);
/// The pass of a neighbouring stage that reads the output of `op`; the inverse of neighbour_input.
[[nodiscard]] std::optional<PassOp> neighbour_consumer(const PassOp& op, int num_stages);
/// The pass of the same stage and micro-batch that must run before `op`: F before B, B before W.
[[nodiscard]] std::optional<PassOp> own_input(const PassOp& op);

/// One T for every (pass, stage, micro-batch).
template <typename T>
class PassTable {
 public:
  PassTable(int num_stages, int num_micro_batches, const T& initial)
      : num_stages_(static_cast<std::size_t>(num_stages)),
        num_micro_batches_(static_cast<std::size_t>(num_micro_batches)),
        values_(static_cast<std::size_t>(kNumPasses) * num_stages_ * num_micro_batches_, initial) {}

  [[nodiscard]] T& operator[](const PassOp& op) { return values_[index_of(op)]; }
  [[nodiscard]] const T& operator[](const PassOp& op) const { return values_[index_of(op)]; }

 private:
  [[nodiscard]] std::size_t index_of(const PassOp& op) const {
    const std::size_t row =
        static_cast<std::size_t>(op.pass) * num_stages_ + static_cast<std::size_t>(op.stage);
    return row * num_micro_batches_ + static_cast<std::size_t>(op.micro_batch);
  }

  std::size_t num_stages_;
  std::size_t num_micro_batches_;
  std::vector<T> values_;
};

}  // namespace halfpipe::schedule
