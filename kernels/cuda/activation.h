// SPDX-License-Identifier: Apache-2.0
// GELU (tanh form) on the GPU. Contracts: kernels/ops/activation.h.
//
// Expected: 90 % of the bandwidth of a device copy on an H100. Each array is moved once in 16-byte
// accesses; about 20 instructions and two of the special function unit per element take two thirds
// of the time that the bytes of a bfloat16 element take. Measured, [8192, 6400] in bfloat16: 94 %
// forward, 98 % backward (docs/results/2026-11-27-h100.md).
#pragma once

#include <cuda_runtime.h>

#include "kernels/ops/activation.h"

namespace halfpipe::cuda {

void gelu_forward(const ops::GeluForward& args, cudaStream_t stream);
void gelu_backward_input(const ops::GeluBackwardInput& args, cudaStream_t stream);

}  // namespace halfpipe::cuda
