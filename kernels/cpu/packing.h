// SPDX-License-Identifier: Apache-2.0
// Packing: parts of a product's operands copied into the order in which multiply_registers() reads
// them, widened to float32 (Goto and van de Geijn 2008, "Anatomy of high-performance matrix
// multiplication").
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "kernels/core/align.h"
#include "kernels/core/bfloat16.h"
#include "kernels/cpu/register_tile.h"
#include "kernels/cpu/transpose.h"
#include "kernels/cpu/widen.h"

namespace halfpipe::cpu {

/// Terms of a sum, columns of b and rows of a that are packed together, at most. On AVX2 a sliver
/// of b, [kMaxDepth, kRegisterColumns], is 32 KiB and read anew for each of the 96 / 6 panels of a,
/// 192 KiB in L2; fewer terms would keep it in L1 (Zen 3), but c be read and written more often:
/// with 256 the products of training took 5 % longer.
inline constexpr std::int64_t kMaxDepth = 512;
inline constexpr std::int64_t kMaxPackedColumns = 96;
inline constexpr std::int64_t kMaxPackedRows = 96;
static_assert(kMaxPackedRows % kRegisterRows == 0);

/// Lines of memory that are read together, so that what they become in one sliver or panel is whole
/// cache lines.
inline constexpr std::int64_t kLinesAtOnce = 8;

[[nodiscard]] inline std::int64_t packed_b_floats(std::int64_t depth, std::int64_t columns) {
  return depth * round_up(columns, kRegisterColumns);
}

/// packed[sliver, k, j] = element (k, sliver * kRegisterColumns + j) of b, 0 where j is beyond
/// `columns`. Element (k, j) is b[k * stride + j], or b[j * stride + k] when transposed.
template <typename T>
void pack_b(const T* b,
            std::int64_t stride,
            bool transposed,
            std::int64_t depth,
            std::int64_t columns,
            float* packed) {
  float widened[kLinesAtOnce * std::max(kMaxDepth, kMaxPackedColumns)];
  const std::int64_t whole_columns = columns / kRegisterColumns * kRegisterColumns;
  if (whole_columns < columns) {
    std::fill_n(packed + whole_columns * depth, kRegisterColumns * depth, 0.0F);
  }
  const std::int64_t num_lines = transposed ? columns : depth;
  const std::int64_t line_size = transposed ? depth : columns;
  for (std::int64_t first = 0; first < num_lines; first += kLinesAtOnce) {
    const std::int64_t count = std::min(kLinesAtOnce, num_lines - first);
    const FloatRows lines = as_float_rows(b + first * stride, stride, count, line_size, widened);
    if (transposed) {  // lines are columns of b, all of one sliver
      const std::int64_t lane = first % kRegisterColumns;
      transpose(lines.rows, lines.stride, count, depth, packed + (first - lane) * depth + lane,
                kRegisterColumns);
      continue;
    }
    for (std::int64_t j = 0; j < whole_columns; j += kRegisterColumns) {
      float* const sliver = packed + j * depth + first * kRegisterColumns;
      for (std::int64_t k = 0; k < count; ++k) {
        std::memcpy(sliver + k * kRegisterColumns, lines.rows + k * lines.stride + j,
                    kRegisterColumns * sizeof(float));
      }
    }
    for (std::int64_t k = 0; k < count; ++k) {
      std::copy(lines.rows + k * lines.stride + whole_columns,
                lines.rows + k * lines.stride + columns,
                packed + whole_columns * depth + (first + k) * kRegisterColumns);
    }
  }
}

/// Where the rows of a lie that are multiplied together: row i, term k of panel p is
/// base[p * panel_stride + i * row_stride + k * k_stride], i < kRegisterRows.
struct Panels {
  const float* base;
  std::int64_t panel_stride;
  std::int64_t row_stride;
  std::int64_t k_stride;
};

/// Of rows that lie `stride` apart, terms side by side: as good as packed ones.
[[nodiscard]] inline Panels panels_of_rows(const float* rows, std::int64_t stride) {
  return {rows, kRegisterRows * stride, stride, 1};
}
/// Of a transposed operand that is packed.
[[nodiscard]] inline Panels packed_panels(const float* packed, std::int64_t depth) {
  return {packed, kRegisterRows * depth, 1, kRegisterRows};
}

[[nodiscard]] inline std::int64_t packed_a_floats(std::int64_t depth, std::int64_t rows) {
  return depth * round_up(rows, kRegisterRows);
}

/// Element (i, k) is a[i * stride + k], and becomes packed[i * depth + k], float32; or it is
/// a[k * stride + i] when transposed, and becomes packed[panel, k, i % kRegisterRows].
template <typename T>
void pack_a(const T* a,
            std::int64_t stride,
            bool transposed,
            std::int64_t depth,
            std::int64_t rows,
            float* packed) {
  if (!transposed) {
    for (std::int64_t i = 0; i < rows; ++i) convert(a + i * stride, depth, packed + i * depth);
    return;
  }
  float widened[kLinesAtOnce * kMaxPackedRows];
  const std::int64_t whole_rows = rows / kRegisterRows * kRegisterRows;
  for (std::int64_t first = 0; first < depth; first += kLinesAtOnce) {
    const std::int64_t count = std::min(kLinesAtOnce, depth - first);
    const FloatRows lines = as_float_rows(a + first * stride, stride, count, rows, widened);
    for (std::int64_t i = 0; i < whole_rows; i += kRegisterRows) {
      float* const panel = packed + i * depth + first * kRegisterRows;
      for (std::int64_t k = 0; k < count; ++k) {
        std::memcpy(panel + k * kRegisterRows, lines.rows + k * lines.stride + i,
                    kRegisterRows * sizeof(float));
      }
    }
    for (std::int64_t k = 0; k < count; ++k) {
      std::copy(lines.rows + k * lines.stride + whole_rows, lines.rows + k * lines.stride + rows,
                packed + whole_rows * depth + (first + k) * kRegisterRows);
    }
  }
}

}  // namespace halfpipe::cpu
