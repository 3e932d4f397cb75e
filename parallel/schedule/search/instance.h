// SPDX-License-Identifier: Apache-2.0
// A search problem as tables: the form in which constructors, evaluation and improvement read it
// millions of times.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "parallel/schedule/pass.h"
#include "parallel/schedule/search/problem.h"
#include "parallel/schedule/stage_orders.h"

namespace halfpipe::schedule {

/// A (pass, stage) is a row: pass * num_stages + stage. A row's passes run in micro-batch order.
struct RowOp {
  std::int32_t row;
  std::int32_t micro_batch;

  friend bool operator==(const RowOp&, const RowOp&) = default;
};

using RowOrders = std::vector<std::vector<RowOp>>;  // [rank], in execution order

struct Row {
  Pass pass;
  int stage;
  int rank;
  int chunk;
  double seconds;
  // The row of the neighbouring stage whose output this one reads, and the seconds that it is under
  // way (as if no message waited for another: CostModel::one_message_at_a_time is not known here);
  // kNoRow for F of the first stage, B of the last and W.
  int input_row;
  double input_delay;
  int consumer_row;  // the inverse of input_row
  int consumer_rank;
  // Bytes on the rank: a pass needs `rise` more than before it, and leaves `net` more behind it.
  std::int64_t rise;
  std::int64_t net;
};

inline constexpr int kNoRow = -1;

struct Instance {
  explicit Instance(const SearchProblem& problem);

  [[nodiscard]] std::size_t num_ops() const {
    return rows.size() * static_cast<std::size_t>(num_micro_batches);
  }
  [[nodiscard]] int row_of(Pass pass, int stage) const {
    return static_cast<int>(pass) * num_stages + stage;
  }
  [[nodiscard]] std::size_t index_of(RowOp op) const {
    return static_cast<std::size_t>(op.row) * static_cast<std::size_t>(num_micro_batches) +
           static_cast<std::size_t>(op.micro_batch);
  }
  [[nodiscard]] const Row& row(int index) const { return rows[static_cast<std::size_t>(index)]; }

  [[nodiscard]] RowOrders rows_of(const StageOrders& orders) const;
  [[nodiscard]] StageOrders orders_of(const RowOrders& rows, const std::string& name) const;

  Placement placement;
  Objective objective;
  int num_ranks;
  int num_stages;
  int num_micro_batches;
  std::vector<Row> rows;
  std::vector<std::int64_t> memory_limit;  // [rank]
  std::vector<double> rank_seconds;        // [rank], passes of one micro-batch
  double busiest_seconds;                  // the largest of them
  double mean_pass_seconds;
  bool has_passes_of_no_time;  // those of a stage without layers, or as good as none
};

/// Whether every rank's order stays within its memory limit. Memory depends on the order alone, not
/// on times.
[[nodiscard]] bool fits_memory(const Instance& instance, const RowOrders& orders);

}  // namespace halfpipe::schedule
