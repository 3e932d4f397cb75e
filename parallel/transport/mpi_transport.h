// SPDX-License-Identifier: Apache-2.0
// The transport of one rank that is a process of an MPI job. Made by MpiSession::make_transport.
#pragma once

#include <mpi.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "parallel/transport/mpi_requests.h"
#include "parallel/transport/mpi_session.h"
#include "parallel/transport/mpi_status_board.h"
#include "parallel/transport/nap.h"
#include "parallel/transport/progress_thread.h"
#include "parallel/transport/transport.h"
#include "parallel/transport/watch.h"

namespace halfpipe::transport {

/// Waits by testing in growing naps, never in a burning spin. When the sizes of a message disagree,
/// wait() throws InternalError at the receiver (after a second or so).
class MpiTransport final : public Transport {
 public:
  /// Collective over `world`.
  MpiTransport(MPI_Comm world, LossAction loss_action);
  /// Collective, unless a rank is lost or an exception is on its way.
  ~MpiTransport() override;

  [[nodiscard]] int rank() const override { return rank_; }
  [[nodiscard]] int world_size() const override { return world_size_; }
  [[nodiscard]] int ranks_on_this_host() const override { return board_.num_slots(); }
  [[nodiscard]] int rank_on_this_host() const override { return own_slot_; }

  [[nodiscard]] device::MemoryKind message_memory() const override {
    return device::MemoryKind::kPinned;
  }
  [[nodiscard]] Request send(std::span<const std::byte> src,
                             int dst_rank,
                             device::Stream& stream) override;
  [[nodiscard]] Request post_recv(std::span<std::byte> dst,
                                  int src_rank,
                                  device::Stream& stream) override;
  void wait(Request request, device::Stream& stream) override;
  [[nodiscard]] bool wait_until(Request request,
                                device::Stream& stream,
                                std::chrono::steady_clock::time_point deadline) override;
  [[nodiscard]] bool watch_until(std::string_view what,
                                 int peer,
                                 const std::function<bool()>& done,
                                 std::chrono::steady_clock::time_point deadline) override;

  void all_reduce_sum(std::span<double> inout) override;
  void broadcast(std::vector<std::byte>& inout, int root) override;
  [[nodiscard]] std::vector<std::vector<std::byte>> all_gather(
      std::span<const std::byte> mine) override;
  void barrier() override;

  void publish(const RankStatus& status) override { board_.publish(own_slot_, status); }
  void set_timeout(double seconds) override { timeout_seconds_ = seconds; }
  [[nodiscard]] bool claim_last_words() noexcept override { return board_.claim_last_words(); }
  void abort(int exit_code) noexcept override;

 private:
  class WaitingScope;
  Progress progress_while_computing();
  void look_for_dead();

  static constexpr int kOtherHost = -1;
  /// Wakes a rank of this host that waits for a message.
  void ring(int rank);
  /// Whether whoever sends this message rings, and it is here then.
  [[nodiscard]] Nap::Until announcement_of(Request request);
  /// Until done() or `deadline`; whether it is done.
  template <typename Done>
  bool block(const WaitSubject& subject,
             Nap::Until until,
             const Done& done,
             Request request = {},
             std::chrono::steady_clock::time_point deadline =
                 std::chrono::steady_clock::time_point::max());
  void check_size(Request request, const StallClock& clock, const WaitSubject& subject);
  void finish_collective(MPI_Request handle, std::string_view what);
  [[nodiscard]] bool part_in_peace();

  [[noreturn]] void lose(const std::string& message);
  void throw_if_lost();

  LossAction loss_action_;
  MPI_Comm messages_ = MPI_COMM_NULL;
  MPI_Comm collectives_ = MPI_COMM_NULL;
  int rank_ = 0;
  int world_size_ = 1;
  int exceptions_at_start_;
  double timeout_seconds_ = 0.0;

  MpiStatusBoard mpi_board_;
  StatusBoard board_;
  int own_slot_;
  DeathWatch death_watch_;
  bool spin_first_;
  std::vector<int> slot_of_rank_;  // on the board; kOtherHost

  std::vector<double> gathered_;  // of all_reduce_sum; grows only

  std::mutex mutex_;  // guards requests_, last_send_ and loss_
  MpiRequests requests_;
  std::chrono::steady_clock::time_point last_send_;
  std::string loss_;  // why every further call throws, with LossAction::kThrow
  std::atomic<bool> lost_{false};
  std::atomic<bool> waiting_{false};  // the rank is in a blocking call and tests for itself
  std::optional<ProgressThread> progress_;
};

}  // namespace halfpipe::transport
