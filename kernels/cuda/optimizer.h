// SPDX-License-Identifier: Apache-2.0
// AdamW on the GPU. Contract: kernels/ops/optimizer.h.
//
// Expected: 90 % of the bandwidth of a device copy on an H100. 28 bytes per element (30 with the
// copy), moved once in 16-byte accesses, eight loads of a thread in flight; arithmetic takes a
// third of the time. Measured, 67 M elements with copy: 100 % (docs/results/2026-11-27-h100.md).
//
// Moments in bfloat16: 20 bytes per element (22), six loads in flight. Expected, and not measured:
// 85 %. A thread draws twice for its eight elements, 40 wide products and 40 logical operations, so
// ten instructions an element; rounding is a dozen more. In the time of 22 bytes an H100 can issue
// some 200 (132 x 128 lanes at 1.7 GHz, 3 TB/s), and AdamW itself takes less than half of them.
#pragma once

#include <cuda_runtime.h>

#include "kernels/ops/optimizer.h"

namespace halfpipe::cuda {

void adamw(const ops::AdamW& args, cudaStream_t stream);

}  // namespace halfpipe::cuda
