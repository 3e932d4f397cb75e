// SPDX-License-Identifier: Apache-2.0
// Reading, writing, reordering and masking of blocks.
#include "kernels/cpu/attention_block.h"

#include <algorithm>
#include <limits>

#include "kernels/cpu/lanes.h"

namespace halfpipe::cpu {

void write_row(float* row,
               const float* transposed,
               std::int64_t l,
               std::int64_t HS,
               float factor,
               float* /*unrounded*/) {
  for (std::int64_t d = 0; d < HS; ++d) row[d] = factor * transposed[d * kQueryBlock + l];
}

void write_row(BFloat16* row,
               const float* transposed,
               std::int64_t l,
               std::int64_t HS,
               float factor,
               float* unrounded) {
  write_row(unrounded, transposed, l, HS, factor, nullptr);
  convert(unrounded, HS, row);
}

void transpose_block(float* transposed,
                     const float* rows,
                     std::int64_t row_stride,
                     std::int64_t num_rows,
                     std::int64_t HS,
                     float scale) {
  if (num_rows == kQueryBlock) {
    for (std::int64_t d = 0; d < HS; ++d) {
      for (std::int64_t l = 0; l < kQueryBlock; ++l) {
        transposed[d * kQueryBlock + l] = scale * rows[l * row_stride + d];
      }
    }
    return;
  }
  std::fill_n(transposed, HS * kQueryBlock, 0.0F);
  for (std::int64_t l = 0; l < num_rows; ++l) {
    for (std::int64_t d = 0; d < HS; ++d) {
      transposed[d * kQueryBlock + l] = scale * rows[l * row_stride + d];
    }
  }
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
