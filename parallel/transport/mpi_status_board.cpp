// SPDX-License-Identifier: Apache-2.0
#include "parallel/transport/mpi_status_board.h"

#include <cstddef>
#include <span>

#include "parallel/transport/mpi_error.h"

namespace halfpipe::transport {

MpiStatusBoard::MpiStatusBoard(MPI_Comm world) {
  int world_rank = 0;
  HALFPIPE_MPI_CHECK(MPI_Comm_rank(world, &world_rank));
  HALFPIPE_MPI_CHECK(
      MPI_Comm_split_type(world, MPI_COMM_TYPE_SHARED, world_rank, MPI_INFO_NULL, &node_));
  int num_slots = 0;
  HALFPIPE_MPI_CHECK(MPI_Comm_size(node_, &num_slots));
  HALFPIPE_MPI_CHECK(MPI_Comm_rank(node_, &own_slot_));

  const auto bytes = static_cast<MPI_Aint>(StatusBoard::bytes_for(num_slots));
  void* memory = nullptr;
  HALFPIPE_MPI_CHECK(MPI_Win_allocate_shared(own_slot_ == 0 ? bytes : 0, 1, MPI_INFO_NULL, node_,
                                             &memory, &window_));
  MPI_Aint allotted = 0;
  int unit = 0;
  HALFPIPE_MPI_CHECK(MPI_Win_shared_query(window_, 0, &allotted, &unit, &memory));
  HALFPIPE_MPI_CHECK(MPI_Win_lock_all(MPI_MODE_NOCHECK, window_));

  const std::span<std::byte> span(static_cast<std::byte*>(memory),
                                  static_cast<std::size_t>(allotted));
  if (own_slot_ == 0) board_ = StatusBoard::create(span, num_slots);
  HALFPIPE_MPI_CHECK(MPI_Barrier(node_));
  if (own_slot_ != 0) board_ = StatusBoard::attach(span, num_slots);
  board_->enter(own_slot_, world_rank, this_process());
  HALFPIPE_MPI_CHECK(MPI_Barrier(node_));
}

void MpiStatusBoard::free() {
  MPI_Win_unlock_all(window_);
  MPI_Win_free(&window_);
  MPI_Comm_free(&node_);
}

}  // namespace halfpipe::transport
