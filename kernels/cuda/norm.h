// SPDX-License-Identifier: Apache-2.0
// LayerNorm on the GPU. Contracts: kernels/ops/norm.h; layer_norm_backward_weight adds rows in a
// fixed order of its own (column_sums.cuh).
//
// Expected on an H100, as a share of the bandwidth of a device copy:
//   forward, backward_input   90 %: a row stays in registers between its sums and its result, each
//                             array is moved once, several rows per SM hide the sums' latency
//   backward_weight           85 % from C = 1600 in bfloat16 and C = 800 in float32 on, where 100
//                             blocks of 32-byte columns fill the GPU; below that an SM's own limit
//                             counts (C = 768 in bfloat16: 48 blocks, about half)
// Measured, [8192, 1600] in bfloat16: 73 %, 84 % and 55 % (docs/results/2026-11-27-h100.md), short
// of all three; columns want two stages with scratch.
#pragma once

#include <cuda_runtime.h>

#include "kernels/ops/norm.h"

namespace halfpipe::cuda {

void layer_norm_forward(const ops::LayerNormForward& args, cudaStream_t stream);
void layer_norm_backward_input(const ops::LayerNormBackwardInput& args, cudaStream_t stream);
void layer_norm_backward_weight(const ops::LayerNormBackwardWeight& args, cudaStream_t stream);

}  // namespace halfpipe::cuda
