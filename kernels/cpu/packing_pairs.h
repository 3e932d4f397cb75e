// SPDX-License-Identifier: Apache-2.0
// Packing, as in packing.h, of bfloat16 operands in pairs of terms. An odd number of terms is
// filled up with zeros.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "kernels/core/align.h"
#include "kernels/cpu/bfloat16_pairs.h"
#include "kernels/cpu/register_tile.h"
#include "kernels/cpu/transpose.h"

namespace halfpipe::cpu {

/// Terms of a sum that are packed together, at most. A sliver of b of so many is 128 KiB and stays
/// in L2: slivers of 96 KiB were multiplied as fast as those of 24 KiB (one core of a Zen 4).
inline constexpr std::int64_t kMaxPairedDepth = 2048;

[[nodiscard]] inline std::int64_t num_pairs_of(std::int64_t depth) {
  return ceil_div(depth, std::int64_t{2});
}
/// Elements of a sliver: [num_pairs, kRegisterColumns, 2].
[[nodiscard]] inline std::int64_t sliver_elements(std::int64_t depth) {
  return num_pairs_of(depth) * 2 * kRegisterColumns;
}
/// Elements of a packed panel of kPairRows rows, and a cache line, so that panels that are written
/// together do not lie multiples of 4 KiB apart: they would share the sets of L1.
[[nodiscard]] inline std::int64_t panel_elements(std::int64_t depth) {
  return num_pairs_of(depth) * 2 * kPairRows + kTensorAlignment / sizeof(BFloat16);
}

/// Rows of an operand whose rows are interleaved lie far apart, where the machine does not expect
/// them.
inline constexpr std::int64_t kRowsAhead = 16;
/// Two rows of `width` elements; they need not exist.
inline void prefetch_rows(const BFloat16* rows, std::int64_t stride, std::int64_t width) {
  constexpr std::int64_t kLine = kTensorAlignment / sizeof(BFloat16);
  for (std::int64_t i = 0; i < width; i += kLine) {
    __builtin_prefetch(rows + i);
    __builtin_prefetch(rows + stride + i);
  }
}

/// Slivers that are packed together: rows of an operand that is not transposed lie side by side.
inline constexpr std::int64_t kSliversTogether = 4;

/// sliver[p, j] = the pair of terms 2 p and 2 p + 1 of column j of b, of all slivers that
/// `columns`, at most kSliversTogether * kRegisterColumns, begin; 0 where j is beyond `columns`.
inline void interleave_slivers(const BFloat16* b,  // [depth, stride]
                               std::int64_t stride,
                               std::int64_t depth,
                               std::int64_t columns,
                               BFloat16* slivers) {
  const std::int64_t last = (columns - 1) / kRegisterColumns * kRegisterColumns;
  if (columns < last + kRegisterColumns) {
    std::fill_n(slivers + last / kRegisterColumns * sliver_elements(depth), sliver_elements(depth),
                BFloat16{});
  }
  for (std::int64_t p = 0; 2 * p < depth; ++p) {
    const BFloat16* const first = b + 2 * p * stride;
    const bool has_second = 2 * p + 1 < depth;
    prefetch_rows(first + kRowsAhead * stride, stride, columns);
    for (std::int64_t j = 0; j < columns; j += kRegisterColumns) {
      interleave(
          first + j, has_second ? first + stride + j : nullptr,
          std::min(kRegisterColumns, columns - j),
          slivers + j / kRegisterColumns * sliver_elements(depth) + p * 2 * kRegisterColumns);
    }
  }
}

/// One sliver of b, [columns, stride], columns at most kRegisterColumns.
inline void transpose_sliver(const BFloat16* b,
                             std::int64_t stride,
                             std::int64_t depth,
                             std::int64_t columns,
                             BFloat16* sliver) {
  const std::int64_t num_pairs = num_pairs_of(depth);
  if (columns < kRegisterColumns) std::fill_n(sliver, sliver_elements(depth), BFloat16{});
  // Pairs lie side by side: they travel as floats, of which only the bits are moved.
  auto* const pairs = reinterpret_cast<float*>(sliver);
  if (depth % 2 == 0 && stride % 2 == 0) {
    transpose(reinterpret_cast<const float*>(b), stride / 2, columns, num_pairs, pairs,
              kRegisterColumns);
    return;
  }
  constexpr std::int64_t kPairsAtOnce = 64;
  float lines[kRegisterColumns * kPairsAtOnce];
  for (std::int64_t p = 0; p < num_pairs; p += kPairsAtOnce) {
    const std::int64_t count = std::min(kPairsAtOnce, num_pairs - p);
    const std::int64_t terms = std::min(2 * count, depth - 2 * p);
    for (std::int64_t j = 0; j < columns; ++j) {
      lines[j * kPairsAtOnce + count - 1] = 0.0F;
      std::memcpy(lines + j * kPairsAtOnce, b + j * stride + 2 * p,
                  static_cast<std::size_t>(terms) * sizeof(BFloat16));
    }
    transpose(lines, kPairsAtOnce, columns, count, pairs + p * kRegisterColumns, kRegisterColumns);
  }
}

/// The slivers that `columns`, at most kSliversTogether * kRegisterColumns, begin. Element (k, j)
/// is b[k * stride + j], or b[j * stride + k] when transposed.
inline void pack_slivers(const BFloat16* b,
                         std::int64_t stride,
                         bool transposed,
                         std::int64_t depth,
                         std::int64_t columns,
                         BFloat16* slivers) {
  if (!transposed) {
    interleave_slivers(b, stride, depth, columns, slivers);
    return;
  }
  for (std::int64_t j = 0; j < columns; j += kRegisterColumns) {
    transpose_sliver(b + j * stride, stride, depth, std::min(kRegisterColumns, columns - j),
                     slivers + j / kRegisterColumns * sliver_elements(depth));
  }
}

/// Where the rows of a lie that are multiplied together: pair p of row i of panel n is at
/// base + n * panel_stride + i * row_stride + p * pair_stride, i < kPairRows.
struct PairPanels {
  const BFloat16* base;
  std::int64_t panel_stride;
  std::int64_t row_stride;
  std::int64_t pair_stride;
};

/// Of rows that lie `stride` apart, an even number.
[[nodiscard]] inline PairPanels pair_panels_of_rows(const BFloat16* rows, std::int64_t stride) {
  return {rows, kPairRows * stride, stride, 2};
}

/// Panels that are packed together: rows of a transposed operand lie side by side.
inline constexpr std::int64_t kPanelsTogether = 8;

/// Panels of `rows` rows, at most kPanelsTogether * kPairRows. Element (i, k) is a[i * stride + k]
/// and row i of a panel becomes panel[i, 2 num_pairs]; or it is a[k * stride + i] when transposed,
/// and pair p of row i of a panel becomes panel[p, i]. readable_rows: how many rows there are in
/// memory.
inline void pack_panels(const BFloat16* a,
                        std::int64_t stride,
                        bool transposed,
                        std::int64_t depth,
                        std::int64_t rows,
                        std::int64_t readable_rows,
                        BFloat16* panels) {
  const std::int64_t num_pairs = num_pairs_of(depth);
  const std::int64_t panel = panel_elements(depth);
  if (!transposed) {
    for (std::int64_t i = 0; i < rows; ++i) {
      BFloat16* const row = panels + i / kPairRows * panel + i % kPairRows * 2 * num_pairs;
      row[2 * num_pairs - 1] = BFloat16{};
      std::copy_n(a + i * stride, depth, row);
    }
    return;
  }
  for (std::int64_t p = 0; p < num_pairs; ++p) {
    const BFloat16* const first = a + 2 * p * stride;
    const bool has_second = 2 * p + 1 < depth;
    prefetch_rows(first + kRowsAhead * stride, stride, rows);
    for (std::int64_t i = 0; i < rows; i += kPairRows) {
      // Whole vectors are written over what comes next, and over the line behind the last pair.
      const std::int64_t count =
          i + kLanes <= readable_rows ? kLanes : std::min(kPairRows, rows - i);
      interleave(first + i, has_second ? first + stride + i : nullptr, count,
                 panels + i / kPairRows * panel + p * 2 * kPairRows);
    }
  }
}
[[nodiscard]] inline PairPanels packed_pair_panels(const BFloat16* packed,
                                                   std::int64_t depth,
                                                   bool transposed) {
  const std::int64_t panel = panel_elements(depth);
  return transposed ? PairPanels{packed, panel, 2, 2 * kPairRows}
                    : PairPanels{packed, panel, 2 * num_pairs_of(depth), 2};
}

}  // namespace halfpipe::cpu
