// SPDX-License-Identifier: Apache-2.0
// Some ranks of a job as a world of their own: a pipeline, or the replicas of a rank.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "parallel/transport/carried_transport.h"

namespace halfpipe::transport {

/// Ranks are numbered by their places in the group. Messages and collectives are messages of the
/// carrier, which must be a transport of host memory: groups that share a pair of ranks share its
/// FIFO, so both ranks use them in one order. What watches over the job (timeouts, statuses, the
/// end) is the carrier's, and its messages name the job's ranks.
class GroupTransport final : public CarriedTransport {
 public:
  /// `members`: ranks of the carrier, this one among them, the same on all of them. The carrier
  /// must outlive it.
  GroupTransport(Transport& carrier, std::vector<int> members);

  [[nodiscard]] int rank() const override { return rank_; }
  [[nodiscard]] int world_size() const override { return static_cast<int>(members_.size()); }

  [[nodiscard]] device::MemoryKind message_memory() const override {
    return carrier().message_memory();
  }
  [[nodiscard]] Request send(std::span<const std::byte> src,
                             int dst_rank,
                             device::Stream& stream) override {
    return carrier().send(src, member(dst_rank), stream);
  }
  [[nodiscard]] Request post_recv(std::span<std::byte> dst,
                                  int src_rank,
                                  device::Stream& stream) override {
    return carrier().post_recv(dst, member(src_rank), stream);
  }
  void wait(Request request, device::Stream& stream) override { carrier().wait(request, stream); }
  [[nodiscard]] bool wait_until(Request request,
                                device::Stream& stream,
                                std::chrono::steady_clock::time_point deadline) override {
    return carrier().wait_until(request, stream, deadline);
  }
  [[nodiscard]] bool watch_until(std::string_view what,
                                 int peer,
                                 const std::function<bool()>& done,
                                 std::chrono::steady_clock::time_point deadline) override {
    return carrier().watch_until(what, peer < 0 ? peer : member(peer), done, deadline);
  }

  void give_up_messages() noexcept override { carrier().give_up_messages(); }

  void all_reduce_sum(std::span<double> inout) override;
  void broadcast(std::vector<std::byte>& inout, int root) override;
  [[nodiscard]] std::vector<std::vector<std::byte>> all_gather(
      std::span<const std::byte> mine) override;
  void barrier() override;

  void publish(const RankStatus& status) override;

 private:
  [[nodiscard]] int member(int rank) const { return members_[static_cast<std::size_t>(rank)]; }
  void send_bytes(std::span<const std::byte> bytes, int to);
  [[nodiscard]] std::vector<std::byte> receive_bytes(int from);

  std::vector<int> members_;
  int rank_;
};

}  // namespace halfpipe::transport
