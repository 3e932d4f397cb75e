// SPDX-License-Identifier: Apache-2.0
// Found before the header of this name beside the kernels: the same launch, on the CPU.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>

#include "kernels/cuda/cuda_check.h"
#include "tests/cuda_emulation/kernel_launch.h"

namespace halfpipe::cuda {

inline constexpr std::size_t kSharedBytesWithoutOptIn = 48 * 1024;

template <typename... Parameters, typename... Args>
void launch(void (*kernel)(Parameters...),
            dim3 grid,
            dim3 block,
            std::size_t shared_bytes,
            cudaStream_t stream,
            const Args&... args) {
  const void* address = reinterpret_cast<const void*>(kernel);
  if (shared_bytes > kSharedBytesWithoutOptIn) {
    cudaFuncSetAttribute(address, cudaFuncAttributeMaxDynamicSharedMemorySize,
                         static_cast<int>(shared_bytes));
  }
  cuda_emulation::enqueue_kernel(
      address, grid, block, shared_bytes, stream,
      [kernel, ... copies = static_cast<Parameters>(args)] { kernel(copies...); });
}

}  // namespace halfpipe::cuda
