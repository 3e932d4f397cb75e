// SPDX-License-Identifier: Apache-2.0
// AdamW on the GPU. Contract: kernels/ops/optimizer.h.
//
// Expected: 90 % of the bandwidth of a device copy on an H100. 28 bytes per element (30 with the
// copy), moved once in 16-byte accesses, eight loads of a thread in flight; arithmetic takes a
// third of the time. Measured, 67 M elements with copy: 100 % (docs/results/2026-11-27-h100.md), by
// a kernel for one array that did the same with each block.
//
// A launch takes up to 48 arrays that get the same step: 13 launches for the 580 of GPT-2 1558M,
// two thirds of which have 1600 to 6400 elements. Launched one by one such an array takes some 3 us
// for 0.1 us of traffic. Expected, and not measured, on an H100: 16 ms for all 1.56e9 elements with
// the copy, 1.7 ms less than by 580 launches. A step of 48 layers with one micro-batch launches
// 1036 kernels; it was 2177 (counted on emulated GPUs, bf16).
//
// Moments in bfloat16: 20 bytes per element (22), six loads in flight. Expected, and not measured:
// 85 %. A thread draws twice for its eight elements, 40 wide products and 40 logical operations, so
// ten instructions an element; rounding is a dozen more. In the time of 22 bytes an H100 can issue
// some 200 (132 x 128 lanes at 1.7 GHz, 3 TB/s), and AdamW itself takes less than half of them.
#pragma once

#include <cuda_runtime.h>

#include <span>

#include "kernels/ops/optimizer.h"

namespace halfpipe::cuda {

void adamw_pieces(std::span<const ops::AdamW> pieces, cudaStream_t stream);
inline void adamw(const ops::AdamW& args, cudaStream_t stream) {
  adamw_pieces({&args, 1}, stream);
}

}  // namespace halfpipe::cuda
