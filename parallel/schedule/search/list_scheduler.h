// SPDX-License-Identifier: Apache-2.0
// Makes orders by simulating time: a free rank takes, of what is ready and fits its memory, the
// pass with the earliest target; W passes fill waits and make room.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "parallel/schedule/search/instance.h"
#include "parallel/schedule/search/list_policy.h"

namespace halfpipe::schedule {

/// Keeps its tables between runs. Deterministic.
class ListScheduler {
 public:
  /// `instance` outlives it.
  explicit ListScheduler(const Instance& instance);

  /// Orders of all passes, within the memory limits, in `orders`; false when a rank's limit does
  /// not hold one micro-batch, so that no order exists that this way of working would find.
  ///
  /// It cannot run into a deadlock otherwise: an F of chunk j leaves room for one micro-batch on
  /// every later chunk of its rank, so the most advanced micro-batch can always go on.
  bool run(const ListPolicy& policy, RowOrders& orders);

 private:
  struct Head;
  struct View {  // of a free rank at one time
    const Head* best;
    double blocked_target;  // of the first F that lacks memory alone
    double next_arrival;
    double next_start;  // of a pass that is to arrive and has memory
  };

  /// What a rank would run next of one of its F and B rows.
  struct Head {
    int row;
    int chunk;
    bool is_forward;
    std::int64_t rise;
    int micro_batch;
    double target;
    double arrival;  // of its input; never, while that is not known or nothing is left
  };

  void set_targets(const ListPolicy& policy);
  void set_caps(const ListPolicy& policy);
  void reset(RowOrders& orders);
  void decide(int rank, double now, const ListPolicy& policy, RowOrders& orders);
  [[nodiscard]] View look(int rank, double now, const ListPolicy& policy) const;
  [[nodiscard]] bool weight_comes_first(int rank,
                                        double now,
                                        const View& view,
                                        const ListPolicy& policy) const;
  [[nodiscard]] bool admits(int rank, const Head& head) const;
  void start(int rank, RowOp op, double now, RowOrders& orders);
  void arrive(RowOp op, double time);
  void move_on(Head& head);
  [[nodiscard]] double target_of(int row, int micro_batch) const {
    return target_[static_cast<std::size_t>(row)] + micro_batch * interval_;
  }

  const Instance& instance_;
  int num_chunks_;
  double interval_ = 0.0;
  std::vector<Head> heads_;                  // of F and B, rank by rank
  std::vector<std::size_t> head_of_row_;     // [row]: index into heads_
  std::vector<std::int64_t> cap_;            // [rank][chunk]: bytes of chunks up to this one
  std::vector<double> target_;               // [row] of micro-batch 0
  std::vector<double> arrival_;              // [op]: when its input is there
  std::vector<double> free_;                 // [rank]
  std::vector<std::int64_t> live_;           // [rank]
  std::vector<std::int64_t> chunk_live_;     // [rank][chunk]
  std::vector<std::vector<RowOp>> pending_;  // [rank]: W rows in the order of their B
  std::vector<std::size_t> first_pending_;   // [rank]
  std::vector<double> wake_;                 // [rank]: when it looks for work again
};

}  // namespace halfpipe::schedule
