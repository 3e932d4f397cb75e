// SPDX-License-Identifier: Apache-2.0
// The transport of one rank among threads of one process. Made by LocalGroup::make_transport.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "parallel/transport/local_group.h"
#include "parallel/transport/nap.h"
#include "parallel/transport/transport.h"
#include "parallel/transport/watch.h"

namespace halfpipe::transport {

/// A send whose receive is not posted yet stays pending without blocking its rank; whoever of the
/// two comes second copies straight from the source to the destination. When sizes disagree, wait()
/// throws InternalError on both sides.
class LocalTransport final : public Transport {
 public:
  LocalTransport(LocalGroup& group, int rank);
  /// Withdraws what is still pending. Destroyed by an exception, it aborts the group.
  ~LocalTransport() override;

  [[nodiscard]] int rank() const override { return rank_; }
  [[nodiscard]] int world_size() const override { return group_.num_ranks(); }
  [[nodiscard]] int ranks_on_this_host() const override { return group_.num_ranks(); }
  [[nodiscard]] int rank_on_this_host() const override { return rank_; }

  void give_up_messages() noexcept override { withdraw_all(); }
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
  void barrier() override { meet("barrier"); }

  void publish(const RankStatus& status) override { group_.board_.publish(rank_, status); }
  void set_timeout(double seconds) override { timeout_seconds_ = seconds; }
  [[nodiscard]] bool claim_last_words() noexcept override {
    return group_.board_.claim_last_words();
  }
  void abort(int exit_code) noexcept override;

 private:
  struct Started {
    Request request;
    LocalMessage& message;
  };
  Started start(bool is_send, int peer, std::size_t num_bytes);
  void post(LocalMessage& message, Mailbox& mailbox);
  [[nodiscard]] LocalMessage& message_of(Request request);
  [[nodiscard]] Mailbox& mailbox_of(const LocalMessage& message);
  void withdraw_all();
  void release(Request request);

  void contribute(std::span<const std::byte> mine);
  void meet(std::string_view what);
  /// Until ready() or `deadline`; whether it is ready. A nap: nobody wakes this rank when it is.
  template <typename Ready>
  bool block(
      const WaitSubject& subject,
      const Ready& ready,
      std::chrono::steady_clock::time_point deadline = std::chrono::steady_clock::time_point::max(),
      Nap* nap_or_null = nullptr);
  void throw_if_aborted();

  LocalGroup& group_;
  int rank_;
  Parking& parking_;
  bool spin_first_;
  int exceptions_at_start_;
  double timeout_seconds_ = 0.0;
  std::deque<LocalMessage> messages_;  // a deque: messages stay in place while it grows
  std::vector<std::int32_t> free_;
};

}  // namespace halfpipe::transport
