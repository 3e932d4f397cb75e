// SPDX-License-Identifier: Apache-2.0
#include "parallel/transport/local_group.h"

#include "kernels/core/error.h"
#include "parallel/transport/local_transport.h"

namespace halfpipe::transport {

LocalGroup::LocalGroup(int num_ranks)
    : num_ranks_(num_ranks),
      board_memory_(StatusBoard::bytes_for(num_ranks)),
      board_(StatusBoard::create(board_memory_, num_ranks)),
      mailboxes_(static_cast<std::size_t>(num_ranks) * static_cast<std::size_t>(num_ranks)),
      parkings_(static_cast<std::size_t>(num_ranks)),
      contributions_(static_cast<std::size_t>(num_ranks)) {
  HALFPIPE_CHECK(num_ranks >= 1, "a group has at least one rank");
}

std::unique_ptr<Transport> LocalGroup::make_transport(int rank) {
  return std::make_unique<LocalTransport>(*this, rank);
}

void LocalGroup::abort(int exit_code, const std::string& reason) {
  {
    const std::lock_guard lock(abort_mutex_);
    if (aborted()) return;
    exit_code_ = exit_code;
    abort_reason_ = reason;
    aborted_.store(true, std::memory_order_release);
  }
  for (Mailbox& each : mailboxes_) each.close();
  wake_all();
}

int LocalGroup::exit_code() const {
  const std::lock_guard lock(abort_mutex_);
  return exit_code_;
}

std::string LocalGroup::abort_reason() const {
  const std::lock_guard lock(abort_mutex_);
  return abort_reason_;
}

Mailbox& LocalGroup::mailbox(int src_rank, int dst_rank) {
  return mailboxes_[static_cast<std::size_t>(src_rank) * static_cast<std::size_t>(num_ranks_) +
                    static_cast<std::size_t>(dst_rank)];
}

void LocalGroup::wake_all() {
  for (Parking& each : parkings_) each.wake();
}

}  // namespace halfpipe::transport
