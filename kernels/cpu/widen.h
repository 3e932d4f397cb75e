// SPDX-License-Identifier: Apache-2.0
// Rows of bfloat16 as float32, for kernels whose inner part computes in float32.
#pragma once

#include <cstdint>

#include "kernels/core/bfloat16.h"
#include "kernels/cpu/lanes.h"

namespace halfpipe::cpu {

/// Rows of `width` elements that lie `src_stride` apart, into rows side by side.
inline void widen_rows(float* dst,  // [num_rows, width]
                       const BFloat16* src,
                       std::int64_t src_stride,
                       std::int64_t num_rows,
                       std::int64_t width) {
  for (std::int64_t row = 0; row < num_rows; ++row) {
    convert(src + row * src_stride, width, dst + row * width);
  }
}

}  // namespace halfpipe::cpu
