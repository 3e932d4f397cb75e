// SPDX-License-Identifier: Apache-2.0
// Fused softmax and cross-entropy on the GPU. Contract: kernels/ops/cross_entropy.h.
//
// Expected on an H100: 85 % of the bandwidth of a device copy while a row fits in shared memory (V
// up to 115,000 in bfloat16, 57,000 in float32): logits are read once and written once, in 16-byte
// accesses whatever V; two exponentials per logit take half of the time that its bytes take in
// bfloat16. What does not fit is read again, from the second-level cache while the rows in flight,
// one per SM, fit there: V = 256,000 in bfloat16 moves up to 2.5 instead of 2 times its bytes.
// Measured, [8192, 50304] in bfloat16: 93 % (docs/results/2026-11-27-h100.md).
#pragma once

#include <cuda_runtime.h>

#include "kernels/ops/cross_entropy.h"

namespace halfpipe::cuda {

void cross_entropy(const ops::CrossEntropy& args, cudaStream_t stream);
void cross_entropy_statistics(const ops::CrossEntropyStatistics& args, cudaStream_t stream);
void cross_entropy_of_slice(const ops::CrossEntropyOfSlice& args, cudaStream_t stream);

}  // namespace halfpipe::cuda
