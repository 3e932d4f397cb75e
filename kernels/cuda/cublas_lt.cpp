// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/cublas_lt.h"

#include <cstdio>

#include <fmt/format.h>

#include "kernels/core/error.h"

namespace halfpipe::cuda {

void throw_cublas_error(cublasStatus_t status, const char* call, const char* file, int line) {
  throw RuntimeFailure(fmt::format("{} at {}:{}: {} ({})", call, file, line,
                                   cublasLtGetStatusString(status), cublasLtGetStatusName(status)));
}

void warn_on_cublas_error(cublasStatus_t status, const char* call) noexcept {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  std::fprintf(stderr, "halfpipe: warning: %s: %s\n", call, cublasLtGetStatusString(status));
}

}  // namespace halfpipe::cuda
