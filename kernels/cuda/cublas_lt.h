// SPDX-License-Identifier: Apache-2.0
// cuBLASLt's context and its errors.
#pragma once

#include <cublasLt.h>

#include <utility>

namespace halfpipe::cuda {

/// Throws RuntimeFailure "<call> at <file>:<line>: <cuBLAS's words>".
[[noreturn]] void throw_cublas_error(cublasStatus_t status,
                                     const char* call,
                                     const char* file,
                                     int line);

/// For destructors: a failed call is written to stderr and forgotten.
void warn_on_cublas_error(cublasStatus_t status, const char* call) noexcept;

}  // namespace halfpipe::cuda

#define HALFPIPE_CUBLAS_CHECK(call)                                                     \
  do {                                                                                  \
    const cublasStatus_t halfpipe_status = (call);                                      \
    if (halfpipe_status != CUBLAS_STATUS_SUCCESS) {                                     \
      ::halfpipe::cuda::throw_cublas_error(halfpipe_status, #call, __FILE__, __LINE__); \
    }                                                                                   \
  } while (false)

namespace halfpipe::cuda {

/// Owns a cuBLASLt context of the device that is current when it is made. A moved-from object owns
/// nothing. Threads may share it (cuBLAS documentation, "Thread safety").
class CublasLtHandle {
 public:
  CublasLtHandle() { HALFPIPE_CUBLAS_CHECK(cublasLtCreate(&handle_)); }
  ~CublasLtHandle() { reset(); }
  CublasLtHandle(CublasLtHandle&& other) noexcept
      : handle_(std::exchange(other.handle_, nullptr)) {}
  CublasLtHandle& operator=(CublasLtHandle&& other) noexcept {
    if (this != &other) {
      reset();
      handle_ = std::exchange(other.handle_, nullptr);
    }
    return *this;
  }
  CublasLtHandle(const CublasLtHandle&) = delete;
  CublasLtHandle& operator=(const CublasLtHandle&) = delete;

  [[nodiscard]] cublasLtHandle_t get() const noexcept { return handle_; }

 private:
  void reset() noexcept {
    if (handle_ != nullptr) warn_on_cublas_error(cublasLtDestroy(handle_), "cublasLtDestroy");
    handle_ = nullptr;
  }

  cublasLtHandle_t handle_ = nullptr;
};

}  // namespace halfpipe::cuda
