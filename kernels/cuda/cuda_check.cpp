// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/cuda_check.h"

#include <cstdio>

#include <fmt/format.h>

namespace halfpipe::cuda {

void throw_cuda_error(cudaError_t status, const char* call, const char* file, int line) {
  // The runtime remembers the error, and the check after the next launch would find it again.
  (void)cudaGetLastError();
  throw RuntimeFailure(fmt::format("{} at {}:{}: {} ({})", call, file, line,
                                   cudaGetErrorString(status), cudaGetErrorName(status)));
}

void warn_on_cuda_error(cudaError_t status, const char* call) noexcept {
  // At the end of a process the runtime may be gone first, and everything that it owned with it.
  if (status == cudaSuccess || status == cudaErrorCudartUnloading) return;
  (void)cudaGetLastError();
  std::fprintf(stderr, "halfpipe: warning: %s: %s\n", call, cudaGetErrorString(status));
}

}  // namespace halfpipe::cuda
