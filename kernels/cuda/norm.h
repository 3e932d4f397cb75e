// SPDX-License-Identifier: Apache-2.0
// LayerNorm on the GPU. Contracts: kernels/ops/norm.h; layer_norm_backward_weight adds rows in a
// fixed order of its own (column_sums.cuh).
//
// Expected on an H100, as a share of the bandwidth of a device copy:
//   forward, backward_input   85 to 90 %: a row stays in registers between its sums and its result,
//                             each array is moved once, several rows per SM hide the sums' latency:
//                             in forward 32 of up to 2048 elements of bfloat16, each one warp's, so
//                             that no row waits for a barrier
//   backward_weight           85 % from 50 MB of x and dout on ([8192, 1600] in bfloat16), less
//                             below: the second of its two launches takes some 3 us
//                             (column_sums.cuh)
// Measured, [8192, 1600] in bfloat16: backward_input 84 %; of former versions, forward 73 % (two
// warps per row, 16 rows per SM) and backward_weight 55 % (one launch)
// (docs/results/2026-11-27-h100.md).
#pragma once

#include <cuda_runtime.h>

#include <cstddef>

#include "kernels/ops/norm.h"

namespace halfpipe::cuda {

void layer_norm_forward(const ops::LayerNormForward& args, cudaStream_t stream);
void layer_norm_backward_input(const ops::LayerNormBackwardInput& args, cudaStream_t stream);
void layer_norm_backward_weight(const ops::LayerNormBackwardWeight& args, cudaStream_t stream);
/// Two float32 per column and part of the rows: 0.8 MB for 8192 rows of 1600.
[[nodiscard]] std::size_t layer_norm_backward_weight_scratch_bytes(
    const ops::LayerNormBackwardWeight& args);

}  // namespace halfpipe::cuda
