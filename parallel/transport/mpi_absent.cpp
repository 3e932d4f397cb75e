// SPDX-License-Identifier: Apache-2.0
// MpiSession in a build without MPI.
#include <cstdlib>

#include "kernels/core/error.h"
#include "parallel/transport/mpi_session.h"

namespace halfpipe::transport {

bool mpi_available() {
  return false;
}

MpiSession::MpiSession() {
  throw ConfigError(
      "this build has no MPI transport: build with HALFPIPE_MPI=ON, or run the ranks as threads "
      "with --local-ranks");
}

MpiSession::~MpiSession() = default;

std::unique_ptr<Transport> MpiSession::make_transport(LossAction /*loss_action*/) {
  return nullptr;
}

void MpiSession::abort(int exit_code) noexcept {
  std::_Exit(exit_code);
}

}  // namespace halfpipe::transport
