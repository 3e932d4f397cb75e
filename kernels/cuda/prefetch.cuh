// SPDX-License-Identifier: Apache-2.0
// Memory asked for ahead of time. tests/cuda_emulation replaces this header.
#pragma once

#include <cuda_runtime.h>

namespace halfpipe::cuda {

/// Has the 32 bytes around this address, which exists, brought into the second-level cache. Nothing
/// waits.
__device__ __forceinline__ void prefetch_to_second_level(const void* pointer) {
  asm volatile("prefetch.global.L2 [%0];" ::"l"(__cvta_generic_to_global(pointer)));
}

}  // namespace halfpipe::cuda
