// SPDX-License-Identifier: Apache-2.0
// Rows of float or bfloat16 as float32, for kernels whose inner part computes in float32.
#pragma once

#include <cstdint>

#include "kernels/core/bfloat16.h"
#include "kernels/cpu/lanes.h"

namespace halfpipe::cpu {

struct FloatRows {
  const float* rows;
  std::int64_t stride;
};

/// num_rows rows of `width` elements that lie `stride` apart: float32 is read where it lies,
/// bfloat16 is widened into `widened`, [num_rows, width].
[[nodiscard]] inline FloatRows as_float_rows(const float* rows,
                                             std::int64_t stride,
                                             std::int64_t /*num_rows*/,
                                             std::int64_t /*width*/,
                                             float* /*widened*/) {
  return {rows, stride};
}
[[nodiscard]] inline FloatRows as_float_rows(const BFloat16* rows,
                                             std::int64_t stride,
                                             std::int64_t num_rows,
                                             std::int64_t width,
                                             float* widened) {
  for (std::int64_t row = 0; row < num_rows; ++row) {
    convert(rows + row * stride, width, widened + row * width);
  }
  return {widened, width};
}

}  // namespace halfpipe::cpu
