// SPDX-License-Identifier: Apache-2.0
// A job whose ranks are threads of one process: what the ranks share.
//
//   LocalGroup group(4);
//   // in thread r:
//   const std::unique_ptr<Transport> transport = group.make_transport(r);
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "parallel/transport/local_mailbox.h"
#include "parallel/transport/status_board.h"
#include "parallel/transport/transport.h"

namespace halfpipe::transport {

/// Outlives the transports that it makes.
class LocalGroup {
 public:
  explicit LocalGroup(int num_ranks);

  /// The transport of one rank; once per rank, called in any thread.
  [[nodiscard]] std::unique_ptr<Transport> make_transport(int rank);
  /// Every blocked or later call on any rank throws RankLost with the reason. The first abort
  /// counts.
  void abort(int exit_code, const std::string& reason);

  [[nodiscard]] int num_ranks() const { return num_ranks_; }
  [[nodiscard]] bool aborted() const { return aborted_.load(std::memory_order_acquire); }
  /// Of the first abort; 0 without one.
  [[nodiscard]] int exit_code() const;
  [[nodiscard]] std::string abort_reason() const;

 private:
  friend class LocalTransport;

  [[nodiscard]] Mailbox& mailbox(int src_rank, int dst_rank);
  void wake_all();

  int num_ranks_;
  std::vector<std::byte> board_memory_;
  StatusBoard board_;
  std::deque<Mailbox> mailboxes_;  // [src, dst]
  std::deque<Parking> parkings_;   // [rank]

  // The collective calls: a counting barrier, and what each rank brings.
  std::mutex barrier_mutex_;
  int num_arrived_ = 0;
  std::atomic<std::uint64_t> generation_{0};
  std::vector<std::vector<std::byte>> contributions_;  // [rank]

  mutable std::mutex abort_mutex_;
  std::atomic<bool> aborted_{false};
  int exit_code_ = 0;
  std::string abort_reason_;
};

}  // namespace halfpipe::transport
