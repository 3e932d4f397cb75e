// SPDX-License-Identifier: Apache-2.0
// How the rows of an [N, C] array are divided among the blocks that add them up (column_sums.cuh).
// Nothing of the device goes into it, so that a sum has the same bits on every GPU.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/core/align.h"

namespace halfpipe::cuda {

inline constexpr int kColumnSumThreads = 256;

/// A piece is what a block reads of each of its rows: at most 128 bytes, a line of the second-level
/// cache, and at most one group of `width` elements per lane of a warp.
struct RowPiece {
  int column_lanes;  // threads side by side, a power of two up to 32
  int columns;
  int row_lanes;  // threads below each other
};

[[nodiscard]] constexpr RowPiece row_piece(std::size_t element_bytes, int width) {
  constexpr int kBytes = 128;
  constexpr int kLanesOfWarp = 32;
  const int lanes = kBytes / (static_cast<int>(element_bytes) * width);
  const int column_lanes = lanes < kLanesOfWarp ? lanes : kLanesOfWarp;
  return {column_lanes, column_lanes * width, kColumnSumThreads / column_lanes};
}

/// Rows that a thread reads before it adds the first, so that their loads overlap, and rows that it
/// adds in float32 at most: a rounding error stays that of so few additions.
inline constexpr int kRowsTogether = 4;
inline constexpr std::int64_t kMostRowsOfThread = 32;

/// Blocks of a launch, so that few SMs are idle at its end: the 132 of an H100 take four to six
/// each.
inline constexpr std::int64_t kEnoughBlocks = 1024;

/// Part i are rows i * rows_of_part .. min(N, (i + 1) * rows_of_part) - 1.
struct RowSplit {
  std::int64_t rows_of_part;
  std::int64_t num_parts;
};

/// The largest parts that make enough blocks, num_pieces for each part; every part costs the write
/// and the read of a partial sum. Where none do, the smallest.
[[nodiscard]] constexpr RowSplit split_rows(std::int64_t N,
                                            std::int64_t num_pieces,
                                            std::int64_t row_lanes) {
  std::int64_t rows = row_lanes * kMostRowsOfThread;
  while (rows > row_lanes * kRowsTogether && num_pieces * ceil_div(N, rows) < kEnoughBlocks) {
    rows /= 2;
  }
  return {rows, ceil_div(N, rows)};
}

}  // namespace halfpipe::cuda
