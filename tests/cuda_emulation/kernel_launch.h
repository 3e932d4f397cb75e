// SPDX-License-Identifier: Apache-2.0
// Launches a kernel of the emulation: checks what the driver would check, then enqueues.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

#include "tests/cuda_emulation/runtime_api.h"
#include "tests/cuda_emulation/vector_types.h"

namespace halfpipe::cuda_emulation {

/// `body` is what one thread of the kernel runs. Throws RuntimeFailure for a launch that a GPU
/// would refuse: a grid or block out of range, more shared memory than cudaFuncSetAttribute
/// allowed.
void enqueue_kernel(const void* kernel,
                    dim3 grid,
                    dim3 block,
                    std::size_t shared_bytes,
                    cudaStream_t stream,
                    std::function<void()> body);

/// Of kernels, since the process began.
[[nodiscard]] std::int64_t num_launches();

}  // namespace halfpipe::cuda_emulation
