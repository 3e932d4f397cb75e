// SPDX-License-Identifier: Apache-2.0
// Blocks of one launch that wait for each other in a fixed order: a block may wait only for blocks
// with lower tickets, which have started, so that a launch of any size comes to its end.
// tests/cuda_emulation replaces this header.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace halfpipe::cuda {

/// The number of blocks that called this before, one thread of each. `counter` starts at zero.
[[nodiscard]] __device__ __forceinline__ std::uint32_t take_ticket(std::uint32_t* counter) {
  return atomicAdd(counter, 1U);
}

/// Waits until *turn is `number`. What the block that set it wrote before is then visible to this
/// thread, and after a __syncthreads() to its block.
__device__ __forceinline__ void wait_for_turn(std::uint32_t* turn, std::uint32_t number) {
  std::uint32_t value;
  do {
    asm volatile("ld.acquire.gpu.global.u32 %0,[%1];" : "=r"(value) : "l"(turn) : "memory");
  } while (value != number);
}

/// Sets *turn to `number`, after what this thread, and before the last __syncthreads() its block,
/// wrote.
__device__ __forceinline__ void pass_turn(std::uint32_t* turn, std::uint32_t number) {
  asm volatile("fence.acq_rel.gpu;\n\tst.relaxed.gpu.global.u32 [%0],%1;" ::"l"(turn), "r"(number)
               : "memory");
}

}  // namespace halfpipe::cuda
