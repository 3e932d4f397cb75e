// SPDX-License-Identifier: Apache-2.0
// AdamW on the GPU. Contract: kernels/ops/optimizer.h.
//
// Expected: 90 % of the bandwidth of a device copy on an H100. 28 bytes per element (30 with the
// copy), moved once in 16-byte accesses, eight loads of a thread in flight; arithmetic takes a
// third of the time. Measured, 67 M elements with copy: 100 % (docs/results/2026-11-27-h100.md).
#pragma once

#include <cuda_runtime.h>

#include "kernels/ops/optimizer.h"

namespace halfpipe::cuda {

void adamw(const ops::AdamW& args, cudaStream_t stream);

}  // namespace halfpipe::cuda
