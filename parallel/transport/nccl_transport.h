// SPDX-License-Identifier: Apache-2.0
// Messages between ranks, neighbours in their ring or any two of them, from GPU to GPU: kernels of
// NCCL on streams of their own. All else goes through another transport.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "kernels/cuda/cuda_stream.h"
#include "kernels/device/backend.h"
#include "parallel/transport/carried_transport.h"
#include "parallel/transport/nccl_communicator.h"
#include "parallel/transport/nccl_factory.h"

namespace halfpipe::transport {

/// A communicator and a stream of high priority for each direction between two ranks in reach: a
/// message waits only for those before it on its way. wait() makes the stream wait, and the host
/// only for the device to be no more than some messages behind: a rank whose message does not come
/// stands there, or in synchronize(). Both sides of a message must name the same number of bytes:
/// nobody checks that.
class NcclTransport final : public CarriedTransport {
 public:
  /// Collective: connects the ranks, in one order on all of them, and sends a first message on
  /// every way, so that a step allocates nothing. The carrier must outlive this.
  NcclTransport(Transport& carrier, device::Backend& backend, Reach reach);
  /// Collective, unless an exception is on its way or a request has not been waited for.
  ~NcclTransport() override;

  [[nodiscard]] device::MemoryKind message_memory() const override {
    return device::MemoryKind::kDevice;
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
  void synchronize(device::Stream& stream) override;
  [[nodiscard]] bool messages_hold_the_device_up() const override { return true; }
  void give_up_messages() noexcept override;
  void publish(const RankStatus& status) override {
    status_ = status;
    carrier().publish(status);
  }

 private:
  /// The way to or from a neighbour.
  struct Channel {
    int peer;
    NcclRole role;
    cuda::CudaStream stream;
    cuda::CudaEvent may_move;  // where the caller's stream was when the last message was started
    NcclCommunicator communicator;

    Channel(int peer_rank, NcclRole own_role, int device_index, const ncclUniqueId& id)
        : peer(peer_rank),
          role(own_role),
          stream(device_index, cuda::StreamPriority::kHigh),
          communicator(id, own_role) {}
  };
  struct Message {
    cuda::CudaEvent moved;
    Channel* channel = nullptr;
    std::size_t num_bytes = 0;
    enum class State : std::uint8_t { kFree, kUnderWay, kWaitedFor } state = State::kFree;
  };

  void connect(int device_index, Reach reach);
  void warm_up(device::Backend& backend);
  [[nodiscard]] Channel& channel(int peer, NcclRole role);
  [[nodiscard]] std::int32_t take_message();
  [[nodiscard]] Message& message(Request request);
  void catch_up(std::size_t most_ahead);
  void enqueue_wait(Message& waited_for, device::Stream& stream);
  [[nodiscard]] Request start(Channel& way,
                              std::byte* bytes,
                              std::size_t num_bytes,
                              device::Stream& stream);
  /// The carrier's watch_until(). Before an exception leaves it, messages are given up: what frees
  /// memory of the device waits for all its kernels.
  [[nodiscard]] bool watch(std::string_view what,
                           int peer,
                           const std::function<bool()>& done,
                           std::chrono::steady_clock::time_point deadline);
  void settle(Channel& way, std::string_view what);
  void throw_if_failed() const;
  void close();

  int exceptions_at_start_;
  std::deque<Channel> channels_;  // in the order in which all ranks make them
  std::deque<Message> messages_;  // indexed by requests
  std::vector<Message*> waited_;  // for, oldest first: maybe not moved yet
  RankStatus status_;             // the last one published
};

}  // namespace halfpipe::transport
