// SPDX-License-Identifier: Apache-2.0
// Failed MPI calls as exceptions.
#pragma once

#include <mpi.h>

#include "kernels/core/error.h"

namespace halfpipe::transport {

/// An MPI call failed; the message has the place, the call and MPI's own words.
class MpiError : public RuntimeFailure {
 public:
  using RuntimeFailure::RuntimeFailure;
};

[[noreturn]] void throw_mpi_error(int code, const char* call, const char* file, int line);

}  // namespace halfpipe::transport

/// For calls on communicators whose errors return (MPI_ERRORS_RETURN).
#define HALFPIPE_MPI_CHECK(call)                                                            \
  do {                                                                                      \
    const int halfpipe_mpi_code = (call);                                                   \
    if (halfpipe_mpi_code != MPI_SUCCESS) [[unlikely]] {                                    \
      ::halfpipe::transport::throw_mpi_error(halfpipe_mpi_code, #call, __FILE__, __LINE__); \
    }                                                                                       \
  } while (false)
