// SPDX-License-Identifier: Apache-2.0
#include "parallel/schedule/search/lengthen.h"

#include <cstddef>

namespace halfpipe::schedule {
namespace {

/// Passes of `length` micro-batches on a rank.
int num_passes(const Instance& instance, int length) {
  return length * kNumPasses * instance.num_stages / instance.num_ranks;
}

/// Each row for `length` micro-batches.
bool runs_each_row(const Instance& instance, const RowOp* window, int length) {
  std::vector<int> times(instance.rows.size(), 0);
  for (int i = 0; i < num_passes(instance, length); ++i) {
    if (++times[static_cast<std::size_t>(window[i].row)] > length) return false;
  }
  return true;
}

/// The same passes, `shift` micro-batches later.
bool is_shifted(const RowOp* window, const RowOp* other, int size, int shift) {
  for (int i = 0; i < size; ++i) {
    if (other[i].row != window[i].row || other[i].micro_batch != window[i].micro_batch + shift) {
      return false;
    }
  }
  return true;
}

/// -1 where the rank has none.
int steady_window(const Instance& instance,
                  int length,
                  const std::vector<RowOp>& ops,
                  const std::vector<TimedPass>& passes,
                  double moment) {
  const int size = num_passes(instance, length);
  const int end = static_cast<int>(ops.size()) - 2 * size;
  int place = size;
  while (place < end && passes[static_cast<std::size_t>(place)].start < moment) ++place;
  const auto is_steady = [&](int start) {
    const RowOp* window = ops.data() + start;
    return runs_each_row(instance, window, length) &&
           is_shifted(window, window + size, size, length) &&
           is_shifted(window, window - size, size, -length);
  };
  for (int distance = 0; distance <= 2 * size; ++distance) {
    for (const int start : {place + distance, place - distance}) {
      if (start >= size && start < end && is_steady(start)) return start;
    }
  }
  return -1;
}

}  // namespace

std::optional<std::vector<int>> steady_windows(const Instance& instance,
                                               int length,
                                               const RowOrders& orders,
                                               const Timeline& timeline) {
  std::vector<int> windows;
  for (std::size_t rank = 0; rank < orders.size(); ++rank) {
    const int window = steady_window(instance, length, orders[rank], timeline.ranks[rank],
                                     0.5 * timeline.makespan);
    if (window < 0) return std::nullopt;
    windows.push_back(window);
  }
  return windows;
}

RowOrders lengthen(const Instance& instance,
                   const RowOrders& orders,
                   const std::vector<int>& windows,
                   int length,
                   int num_micro_batches) {
  const int later = num_micro_batches - instance.num_micro_batches;
  const int size = num_passes(instance, length);
  RowOrders longer(orders.size());
  for (std::size_t rank = 0; rank < orders.size(); ++rank) {
    const std::vector<RowOp>& ops = orders[rank];
    const auto window = ops.begin() + windows[rank];
    std::vector<RowOp>& all = longer[rank];
    all.assign(ops.begin(), window);
    for (int shift = 0; shift < later; shift += length) {
      for (auto op = window; op != window + size; ++op) {
        all.push_back({op->row, op->micro_batch + shift});
      }
    }
    for (auto op = window; op != ops.end(); ++op) {
      all.push_back({op->row, op->micro_batch + later});
    }
  }
  return longer;
}

}  // namespace halfpipe::schedule
