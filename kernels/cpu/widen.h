// SPDX-License-Identifier: Apache-2.0
// Rows of bfloat16 as float32 and back, for kernels whose inner part computes in float32.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/core/bfloat16.h"

namespace halfpipe::cpu {

inline void widen(float* dst, const BFloat16* src, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) dst[i] = to_float(src[i]);
}

/// Rows of `width` elements that lie `src_stride` apart, into rows side by side.
inline void widen_rows(float* dst,  // [num_rows, width]
                       const BFloat16* src,
                       std::int64_t src_stride,
                       std::int64_t num_rows,
                       std::int64_t width) {
  for (std::int64_t row = 0; row < num_rows; ++row) {
    widen(dst + row * width, src + row * src_stride, width);
  }
}

/// Rounds as to_bfloat16() does.
inline void round(BFloat16* dst, const float* src, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) dst[i] = to_bfloat16(src[i]);
}

/// src as a row of either type.
inline void store_row(float* dst, const float* src, std::int64_t count) {
  std::copy_n(src, count, dst);
}
inline void store_row(BFloat16* dst, const float* src, std::int64_t count) {
  round(dst, src, count);
}

}  // namespace halfpipe::cpu
