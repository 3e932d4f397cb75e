// SPDX-License-Identifier: Apache-2.0
// The status board of an MPI job's host, in shared memory that MPI allocates.
#pragma once

#include <mpi.h>

#include <optional>

#include "parallel/transport/status_board.h"

namespace halfpipe::transport {

/// Collective over `world`, in construction and in free().
class MpiStatusBoard {
 public:
  explicit MpiStatusBoard(MPI_Comm world);
  MpiStatusBoard(const MpiStatusBoard&) = delete;
  MpiStatusBoard& operator=(const MpiStatusBoard&) = delete;
  /// Gives the memory back. Without it (when ranks are lost) the memory stays until the process
  /// ends.
  void free();

  [[nodiscard]] StatusBoard& board() { return *board_; }
  [[nodiscard]] int own_slot() const { return own_slot_; }

 private:
  MPI_Comm node_ = MPI_COMM_NULL;
  MPI_Win window_ = MPI_WIN_NULL;
  int own_slot_ = 0;
  std::optional<StatusBoard> board_;
};

}  // namespace halfpipe::transport
