// SPDX-License-Identifier: Apache-2.0
// LayerNorm on the GPU. Contracts: kernels/ops/norm.h; layer_norm_backward_weight adds rows in a
// fixed order of its own (column_sums.cuh).
//
// Expected on an H100, as a share of the bandwidth of a device copy:
//   forward, backward_input   90 %: a row stays in registers between its sums and its result, each
//                             array is moved once, several rows per SM hide the sums' latency
//   backward_weight           85 % from 50 MB of x and dout on ([8192, 1600] in bfloat16), less
//                             below: the second of its two launches takes some 3 us
//                             (column_sums.cuh)
// Measured, [8192, 1600] in bfloat16: forward 73 %, backward_input 84 %; 55 % for a former
// backward_weight of one launch (docs/results/2026-11-27-h100.md).
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
