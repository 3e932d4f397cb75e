// SPDX-License-Identifier: Apache-2.0
// Turns a failed call of the CUDA runtime into an exception that says where, which call and why.
#pragma once

#include <cuda_runtime.h>

#include "kernels/core/error.h"

namespace halfpipe::cuda {

/// Throws RuntimeFailure "<call> at <file>:<line>: <CUDA's words>".
[[noreturn]] void throw_cuda_error(cudaError_t status,
                                   const char* call,
                                   const char* file,
                                   int line);

/// For destructors: a failed call is written to stderr and forgotten.
void warn_on_cuda_error(cudaError_t status, const char* call) noexcept;

}  // namespace halfpipe::cuda

#define HALFPIPE_CUDA_CHECK(call)                                                     \
  do {                                                                                \
    const cudaError_t halfpipe_status = (call);                                       \
    if (halfpipe_status != cudaSuccess) {                                             \
      ::halfpipe::cuda::throw_cuda_error(halfpipe_status, #call, __FILE__, __LINE__); \
    }                                                                                 \
  } while (false)
