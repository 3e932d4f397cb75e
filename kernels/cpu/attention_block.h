// SPDX-License-Identifier: Apache-2.0
// What the attention kernels share: the sizes of their blocks and the layout of one head.
//
// A block of queries lies along the vector lanes ("transposed": [HS, queries], [keys, queries]), so
// that the softmax is arithmetic between vectors, with no sum across lanes, and keys and values are
// used where they lie in qkv, as scalars that multiply a vector.
#pragma once

#include <cstdint>

#include "kernels/core/bfloat16.h"
#include "kernels/cpu/lanes.h"
#include "kernels/cpu/transpose.h"
#include "kernels/ops/attention.h"

namespace halfpipe::cpu {

/// Two vectors of lanes. Key blocks start at multiples of kKeyBlock, query blocks at multiples of
/// kQueryBlock, which divides kKeyBlock: no query of a block is ahead of a whole key block that the
/// block reads, so every softmax has a key.
inline constexpr std::int64_t kQueryBlock = 32;
/// Scores of a block pair: 128 x 32 floats, 16 KiB, a third of L1.
inline constexpr std::int64_t kKeyBlock = 128;
static_assert(kKeyBlock % kQueryBlock == 0);

/// Where sequence b, head h lies in qkv [B, T, 3, NH, HS] and out [B, T, NH, HS].
struct HeadLayout {
  std::int64_t q;           // offset in qkv; k and v follow at +part, +2 part
  std::int64_t part;        // NH * HS
  std::int64_t qkv_stride;  // elements from position to position
  std::int64_t out;         // offset in out
  std::int64_t lse;         // offset in lse [B, NH, T]

  HeadLayout(const ops::AttentionDims& dims, std::int64_t b, std::int64_t h)
      : q(b * dims.T * 3 * dims.NH * dims.HS + h * dims.HS),
        part(dims.NH * dims.HS),
        qkv_stride(3 * part),
        out(b * dims.T * part + h * dims.HS),
        lse((b * dims.NH + h) * dims.T) {}
};

/// rows[l, d] = factors[l] * transposed[d, l] for the first num_rows lanes l; `unrounded` is
/// overwritten.
template <typename T>
void write_rows(T* rows,
                std::int64_t row_stride,
                const float* transposed,  // [HS, kQueryBlock]
                const float* factors,     // [kQueryBlock]
                std::int64_t num_rows,
                std::int64_t HS,
                float* unrounded) {  // [kQueryBlock, HS]
  transpose(transposed, kQueryBlock, HS, num_rows, unrounded, HS);
  for (std::int64_t l = 0; l < num_rows; ++l) {
    for_each_lanes(0, HS, [&](std::int64_t d, auto width) {
      const Lanes values = load(unrounded + l * HS + d, width);
      store(rows + l * row_stride + d, factors[l] * values, width);
    });
  }
}

/// transposed[d, l] = scale * rows[l, d] for the first num_rows lanes l, 0 for the other lanes.
void transpose_block(float* transposed,  // [HS, kQueryBlock]
                     const float* rows,
                     std::int64_t row_stride,
                     std::int64_t num_rows,
                     std::int64_t HS,
                     float scale);

/// scores[j, l] <- -inf where key first_key + j is ahead of query first_query + l.
void mask_future_keys(float* scores,  // [num_keys, kQueryBlock]
                      std::int64_t first_key,
                      std::int64_t num_keys,
                      std::int64_t first_query);

}  // namespace halfpipe::cpu
