// SPDX-License-Identifier: Apache-2.0
// Sums over the rows of a [N, C] array for a group of columns: bias and norm weight gradients.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "kernels/cpu/block_loop.h"
#include "kernels/cpu/lanes.h"

namespace halfpipe::cpu {

/// Rows that are summed in float32 before their sum joins a float64 total: the rounding error stays
/// that of so many additions however many rows there are, at little cost.
inline constexpr std::int64_t kRowsPerPartialSum = 32;

/// One Lanes for each of several sums that walk the rows together.
template <std::size_t kSums>
using LanesOfSums = std::array<Lanes, kSums>;

/// Sums of kGroups * kLanes columns that begin at `column`; only the first `width` of them exist.
template <std::int64_t kGroups, std::size_t kSums, typename AddRow>
void add_column_group_sums(const std::array<float*, kSums>& dst_or_null,
                           std::int64_t N,
                           std::int64_t column,
                           std::int64_t width,
                           const AddRow& add_row) {
  std::array<std::array<Float64Lanes, kSums>, kGroups> total{};
  for (std::int64_t first = 0; first < N; first += kRowsPerPartialSum) {
    std::array<LanesOfSums<kSums>, kGroups> partial{};
    const std::int64_t last = std::min(N, first + kRowsPerPartialSum);
    for (std::int64_t n = first; n < last; ++n) {
      for (std::int64_t g = 0; g < kGroups; ++g) {
        add_row(n, column + g * kLanes, width - g * kLanes, partial[static_cast<std::size_t>(g)]);
      }
    }
    for (std::size_t g = 0; g < kGroups; ++g) {
      for (std::size_t s = 0; s < kSums; ++s) total[g][s].add(partial[g][s]);
    }
  }
  for (std::size_t s = 0; s < kSums; ++s) {
    if (dst_or_null[s] == nullptr) continue;
    for (std::int64_t g = 0; g < kGroups; ++g) {
      float* dst = dst_or_null[s] + column + g * kLanes;
      const std::int64_t rest = width - g * kLanes;
      const std::array<double, kLanes> sums = total[static_cast<std::size_t>(g)][s].values();
      for (std::int64_t i = 0; i < std::min(rest, kLanes); ++i) {
        dst[i] = static_cast<float>(dst[i] + sums[static_cast<std::size_t>(i)]);
      }
    }
  }
}

/// dst[s][c] += sum_n term_s(n, c) for columns c in [begin, end), rows in order; a null dst[s] is
/// left out. add_row(n, c, width, sums) adds the terms of row n at columns [c, c + width), at most
/// kLanes of them, to sums[s].
template <std::size_t kSums, typename AddRow>
void add_column_sums(const std::array<float*, kSums>& dst_or_null,
                     std::int64_t N,
                     std::int64_t begin,
                     std::int64_t end,
                     const AddRow& add_row) {
  constexpr std::int64_t kGroups = kColumnsPerTask / kLanes;
  if (end - begin == kColumnsPerTask) {
    add_column_group_sums<kGroups>(dst_or_null, N, begin, kColumnsPerTask, add_row);
    return;
  }
  for (std::int64_t column = begin; column < end; column += kLanes) {
    add_column_group_sums<1>(dst_or_null, N, column, end - column, add_row);
  }
}

}  // namespace halfpipe::cpu
