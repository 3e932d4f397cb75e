// SPDX-License-Identifier: Apache-2.0
// MPI from start to end, and the transport over it. This header needs no MPI: a build without MPI
// has the same functions, and its MpiSession refuses to start (mpi_absent.cpp).
//
//   MpiSession session;                       // first thing in main, before threads
//   auto transport = session.make_transport();
#pragma once

#include <cstdint>
#include <memory>

#include "parallel/transport/transport.h"

namespace halfpipe::transport {

/// What a rank does that finds another rank dead or standing still.
enum class LossAction : std::uint8_t {
  kEndJob,  // prints one message per host on stderr and ends the job with exit code 1
  kThrow,   // throws RankLost from the blocking call; for tests
};

/// True when a launcher (mpirun, srun) started this process as a rank of an MPI job.
[[nodiscard]] bool launched_by_mpi();
/// True when this build has the MPI transport.
[[nodiscard]] bool mpi_available();

/// Between MPI_Init_thread and MPI_Finalize. When a rank dies the launcher sends SIGTERM to the
/// others at once: a process that wants our message about it (and not only the launcher's) installs
/// a handler for SIGTERM before it makes the session.
class MpiSession {
 public:
  /// Throws ConfigError in a build without MPI, RuntimeFailure when MPI lacks what we need.
  MpiSession();
  /// Finalizes, unless an exception is on its way: the others may be blocked, and would block us.
  ~MpiSession();
  MpiSession(const MpiSession&) = delete;
  MpiSession& operator=(const MpiSession&) = delete;

  [[nodiscard]] int rank() const { return rank_; }
  [[nodiscard]] int world_size() const { return world_size_; }

  /// Collective. The transport ends before the session; its destructor waits for the other ranks.
  [[nodiscard]] std::unique_ptr<Transport> make_transport(
      LossAction loss_action = LossAction::kEndJob);
  /// Ends the whole job at once.
  [[noreturn]] void abort(int exit_code) noexcept;

 private:
  int rank_ = 0;
  int world_size_ = 1;
  int exceptions_at_start_ = 0;
};

}  // namespace halfpipe::transport
