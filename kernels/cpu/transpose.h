// SPDX-License-Identifier: Apache-2.0
// Transposed copies of float32 blocks, eight by eight within registers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace halfpipe::cpu {

namespace transpose_detail {
using Eight [[gnu::vector_size(32)]] = float;
}  // namespace transpose_detail

// Eight floats are wider than a register where there is no AVX: see lanes.h.
#pragma GCC diagnostic ignored "-Wpsabi"

/// dst[j * dst_stride + i] = src[i * src_stride + j] for i, j in [0, 8).
[[gnu::always_inline]] inline void transpose_8x8(const float* src,
                                                 std::int64_t src_stride,
                                                 float* dst,
                                                 std::int64_t dst_stride) {
  using transpose_detail::Eight;
  Eight row[8];
  for (int i = 0; i < 8; ++i) std::memcpy(&row[i], src + i * src_stride, sizeof(Eight));
  // Halves of a vector stay apart until the last step: shuffles within 16 bytes take a cycle.
  Eight pair[8];  // pair[2 p + h]: rows 2 p and 2 p + 1, columns 2 h, 2 h + 1 of both halves
  for (std::size_t p = 0; p < 4; ++p) {
    const Eight a = row[2 * p];
    const Eight b = row[2 * p + 1];
    pair[2 * p] = __builtin_shufflevector(a, b, 0, 8, 1, 9, 4, 12, 5, 13);
    pair[2 * p + 1] = __builtin_shufflevector(a, b, 2, 10, 3, 11, 6, 14, 7, 15);
  }
  Eight quad[8];  // quad[4 q + c]: rows 4 q .. 4 q + 3, columns c and c + 4
  for (std::size_t q = 0; q < 2; ++q) {
    for (std::size_t h = 0; h < 2; ++h) {
      const Eight a = pair[4 * q + h];
      const Eight b = pair[4 * q + 2 + h];
      quad[4 * q + 2 * h] = __builtin_shufflevector(a, b, 0, 1, 8, 9, 4, 5, 12, 13);
      quad[4 * q + 2 * h + 1] = __builtin_shufflevector(a, b, 2, 3, 10, 11, 6, 7, 14, 15);
    }
  }
  for (std::int64_t c = 0; c < 4; ++c) {
    const Eight low = __builtin_shufflevector(quad[c], quad[4 + c], 0, 1, 2, 3, 8, 9, 10, 11);
    const Eight high = __builtin_shufflevector(quad[c], quad[4 + c], 4, 5, 6, 7, 12, 13, 14, 15);
    std::memcpy(dst + c * dst_stride, &low, sizeof(Eight));
    std::memcpy(dst + (c + 4) * dst_stride, &high, sizeof(Eight));
  }
}

/// dst[j, i] = src[i, j] of a [num_rows, num_columns] block. The two must not overlap.
inline void transpose(const float* src,
                      std::int64_t src_stride,
                      std::int64_t num_rows,
                      std::int64_t num_columns,
                      float* dst,
                      std::int64_t dst_stride) {
  const std::int64_t whole_rows = num_rows / 8 * 8;
  const std::int64_t whole_columns = num_columns / 8 * 8;
  for (std::int64_t j = 0; j < whole_columns; j += 8) {
    for (std::int64_t i = 0; i < whole_rows; i += 8) {
      transpose_8x8(src + i * src_stride + j, src_stride, dst + j * dst_stride + i, dst_stride);
    }
  }
  for (std::int64_t i = 0; i < num_rows; ++i) {
    const std::int64_t first = i < whole_rows ? whole_columns : 0;
    for (std::int64_t j = first; j < num_columns; ++j) {
      dst[j * dst_stride + i] = src[i * src_stride + j];
    }
  }
}

}  // namespace halfpipe::cpu
