// SPDX-License-Identifier: Apache-2.0
// The only place where kernels are launched. tests/cuda_emulation replaces this header by one that
// runs the same kernels on the CPU.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>

#include "kernels/cuda/cuda_check.h"

namespace halfpipe::cuda {

/// Dynamic shared memory that a kernel may use without asking for more.
inline constexpr std::size_t kSharedBytesWithoutOptIn = 48 * 1024;

/// More dynamic shared memory than a kernel may use unasked is asked for first. That setting is the
/// kernel's own on its device: all ranks of a process launch a kernel with the same shared_bytes.
/// Enqueues kernel<<<grid, block, shared_bytes, stream>>>(args...), converted to the kernel's
/// parameter types. Throws RuntimeFailure when the launch is refused.
template <typename... Parameters, typename... Args>
void launch(void (*kernel)(Parameters...),
            dim3 grid,
            dim3 block,
            std::size_t shared_bytes,
            cudaStream_t stream,
            const Args&... args) {
  if (shared_bytes > kSharedBytesWithoutOptIn) {
    HALFPIPE_CUDA_CHECK(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                                             cudaFuncAttributeMaxDynamicSharedMemorySize,
                                             static_cast<int>(shared_bytes)));
  }
  kernel<<<grid, block, shared_bytes, stream>>>(static_cast<Parameters>(args)...);
  HALFPIPE_CUDA_CHECK(cudaGetLastError());
}

}  // namespace halfpipe::cuda
