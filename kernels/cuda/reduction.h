// SPDX-License-Identifier: Apache-2.0
// Sums with a fixed order on the GPU. Contracts: kernels/ops/reduction.h; the order within a block
// of sum_of_squares and of the rows of column_sum is that of a fixed tree.
//
// Expected on an H100, as a share of the bandwidth of a device copy: 90 % for accumulate,
// round_to_bfloat16 and sum_of_squares (16-byte accesses, each array moved once; one float64
// multiply-add per 4 bytes is a tenth of what the GPU can do); 85 to 90 % for column_sum of 80 MB
// and more, 75 % of 26 MB ([8192, 1600] in bfloat16), because its second launch takes some 3 us
// (column_sums.cuh). Measured in bfloat16: 102 % for accumulate, 90 % for sum_of_squares
// (docs/results/2026-11-27-h100.md, which has 62 to 66 % for a former column_sum, of one launch
// whose 100 to 400 equal blocks left a quarter of 132 SMs idle).
//
// A launch of sum_of_squares takes up to 112 arrays: 6 launches for the 580 of GPT-2 1558M.
// Expected, and not measured: 2.4 ms, 1.7 ms less than by 580 launches (optimizer.h).
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/ops/reduction.h"

namespace halfpipe::cuda {

void sum_of_squares_pieces(std::span<const ops::SumOfSquares> pieces, cudaStream_t stream);
inline void sum_of_squares(const ops::SumOfSquares& args, cudaStream_t stream) {
  sum_of_squares_pieces({&args, 1}, stream);
}
[[nodiscard]] std::int64_t num_square_blocks(std::int64_t count);
void accumulate(const ops::Accumulate& args, cudaStream_t stream);
void column_sum(const ops::ColumnSum& args, cudaStream_t stream);
/// A float32 per column and part of the rows: 0.4 MB for 8192 rows of 1600.
[[nodiscard]] std::size_t column_sum_scratch_bytes(const ops::ColumnSum& args);
void sum_parts(const ops::SumParts& args, cudaStream_t stream);
void round_to_bfloat16(const ops::RoundToBFloat16& args, cudaStream_t stream);

}  // namespace halfpipe::cuda
