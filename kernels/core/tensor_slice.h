// SPDX-License-Identifier: Apache-2.0
// The part of a tensor that one rank holds, as tensor parallelism cuts it: some indices of one
// axis.
#pragma once

#include <algorithm>
#include <cstdint>

namespace halfpipe {

/// The whole is seen as [outer, extent, inner], row-major; the slice has the indices begin ..
/// end - 1 of the middle axis and lies in memory as [outer, end - begin, inner]. Indices from
/// `extent` on are padding: they belong to no element of the whole.
struct TensorSlice {
  std::int64_t outer = 1;
  std::int64_t extent = 0;
  std::int64_t inner = 1;
  std::int64_t begin = 0;
  std::int64_t end = 0;

  /// All of a tensor.
  [[nodiscard]] static TensorSlice whole(std::int64_t count) { return {1, count, 1, 0, count}; }

  [[nodiscard]] std::int64_t whole_count() const { return outer * extent * inner; }
  /// Padding included.
  [[nodiscard]] std::int64_t count() const { return outer * (end - begin) * inner; }
  [[nodiscard]] bool is_whole() const { return begin == 0 && end == extent; }

  friend bool operator==(const TensorSlice&, const TensorSlice&) = default;
};

/// Elements that lie side by side in the whole and in the slice.
struct SliceRun {
  std::int64_t in_whole;
  std::int64_t in_slice;
  std::int64_t count;

  friend bool operator==(const SliceRun&, const SliceRun&) = default;
};

/// Calls visit(SliceRun) for elements first .. last - 1 of the slice, in their order, without its
/// padding; runs that meet in both are one.
template <typename Visit>
void for_each_run(const TensorSlice& slice, std::int64_t first, std::int64_t last, Visit&& visit) {
  const std::int64_t row = (slice.end - slice.begin) * slice.inner;
  const std::int64_t row_of_whole = slice.extent * slice.inner;
  const std::int64_t kept =
      std::max<std::int64_t>(0, std::min(slice.end, slice.extent) - slice.begin) * slice.inner;
  if (slice.is_whole()) {
    if (first < last) visit(SliceRun{first, first, last - first});
    return;
  }
  for (std::int64_t o = row > 0 ? first / row : slice.outer; o < slice.outer && o * row < last;
       ++o) {
    const std::int64_t from = std::max(first - o * row, std::int64_t{0});
    const std::int64_t to = std::min(last - o * row, kept);
    if (from >= to) continue;
    visit(SliceRun{o * row_of_whole + slice.begin * slice.inner + from, o * row + from, to - from});
  }
}

template <typename Visit>
void for_each_run(const TensorSlice& slice, Visit&& visit) {
  for_each_run(slice, 0, slice.count(), visit);
}

}  // namespace halfpipe
