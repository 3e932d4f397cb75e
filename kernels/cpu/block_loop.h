// SPDX-License-Identifier: Apache-2.0
// Cuts a loop into blocks for the threads of a rank. The cut depends on sizes alone.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/core/align.h"
#include "kernels/cpu/thread_pool.h"

namespace halfpipe::cpu {

/// Elements of one task: some 10 us of memory traffic, an order of magnitude above the cost of
/// handing a task to a thread that spins.
inline constexpr std::int64_t kElementsPerTask = 16384;

/// Runs body(begin, end) over [0, count) in blocks of `block`; a single block runs on the caller
/// and wakes nobody. body must give the same result whoever runs it.
template <typename Body>
void for_each_block(ThreadPool& pool, std::int64_t count, std::int64_t block, const Body& body) {
  if (count <= 0) return;
  if (count <= block) {
    body(std::int64_t{0}, count);
    return;
  }
  pool.parallel_for(ceil_div(count, block), [&](std::int64_t task) {
    body(task * block, std::min(count, (task + 1) * block));
  });
}

/// Runs body(begin, end) over `count` elements that are worked on one by one.
template <typename Body>
void for_each_element_block(ThreadPool& pool, std::int64_t count, const Body& body) {
  for_each_block(pool, count, kElementsPerTask, body);
}

/// Runs body(begin, end) over `num_rows` rows of `width` elements.
template <typename Body>
void for_each_row_block(ThreadPool& pool,
                        std::int64_t num_rows,
                        std::int64_t width,
                        const Body& body) {
  const std::int64_t rows = kElementsPerTask / std::max(width, std::int64_t{1});
  for_each_block(pool, num_rows, std::max(rows, std::int64_t{1}), body);
}

/// Columns of one task of a sum over rows: four cache lines of float32 side by side.
inline constexpr std::int64_t kColumnsPerTask = 64;

/// Runs body(begin, end) over the columns of a [num_rows, num_columns] array; end - begin is at
/// most kColumnsPerTask. Small arrays stay on the caller.
template <typename Body>
void for_each_column_block(ThreadPool& pool,
                           std::int64_t num_rows,
                           std::int64_t num_columns,
                           const Body& body) {
  if (num_rows * num_columns <= kElementsPerTask) {
    for (std::int64_t begin = 0; begin < num_columns; begin += kColumnsPerTask) {
      body(begin, std::min(num_columns, begin + kColumnsPerTask));
    }
    return;
  }
  for_each_block(pool, num_columns, kColumnsPerTask, body);
}

}  // namespace halfpipe::cpu
