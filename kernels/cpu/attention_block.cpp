// SPDX-License-Identifier: Apache-2.0
// Reading, writing, reordering and masking of blocks.
#include "kernels/cpu/attention_block.h"

#include <algorithm>
#include <limits>

#include "kernels/cpu/transpose.h"

namespace halfpipe::cpu {

void transpose_block(float* transposed,
                     const float* rows,
                     std::int64_t row_stride,
                     std::int64_t num_rows,
                     std::int64_t HS,
                     float scale) {
  if (num_rows < kQueryBlock) std::fill_n(transposed, HS * kQueryBlock, 0.0F);
  transpose(rows, row_stride, num_rows, HS, transposed, kQueryBlock);
  for (std::int64_t i = 0; i < HS * kQueryBlock; ++i) transposed[i] *= scale;
}

void mask_future_keys(float* scores,
                      std::int64_t first_key,
                      std::int64_t num_keys,
                      std::int64_t first_query) {
  for (std::int64_t j = std::max<std::int64_t>(first_query - first_key + 1, 0); j < num_keys; ++j) {
    const std::int64_t num_masked = first_key + j - first_query;
    std::fill_n(scores + j * kQueryBlock, std::min(num_masked, kQueryBlock),
                -std::numeric_limits<float>::infinity());
  }
}

}  // namespace halfpipe::cpu
