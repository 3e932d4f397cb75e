// SPDX-License-Identifier: Apache-2.0
#include "parallel/transport/mpi_session.h"

#include <cstdlib>
#include <exception>

#include "kernels/core/error.h"
#include "parallel/transport/mpi_error.h"
#include "parallel/transport/mpi_transport.h"

namespace halfpipe::transport {

bool mpi_available() {
  return true;
}

MpiSession::MpiSession() : exceptions_at_start_(std::uncaught_exceptions()) {
  int provided = MPI_THREAD_SINGLE;
  HALFPIPE_MPI_CHECK(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_MULTIPLE, &provided));
  if (provided < MPI_THREAD_MULTIPLE) {
    throw RuntimeFailure("this MPI library gives no MPI_THREAD_MULTIPLE, which Halfpipe needs");
  }
  HALFPIPE_MPI_CHECK(MPI_Comm_rank(MPI_COMM_WORLD, &rank_));
  HALFPIPE_MPI_CHECK(MPI_Comm_size(MPI_COMM_WORLD, &world_size_));
}

MpiSession::~MpiSession() {
  if (std::uncaught_exceptions() > exceptions_at_start_) return;
  MPI_Finalize();
}

std::unique_ptr<Transport> MpiSession::make_transport(LossAction loss_action) {
  return std::make_unique<MpiTransport>(MPI_COMM_WORLD, loss_action);
}

void MpiSession::abort(int exit_code) noexcept {
  MPI_Abort(MPI_COMM_WORLD, exit_code);
  std::_Exit(exit_code);
}

}  // namespace halfpipe::transport
