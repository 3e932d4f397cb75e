// SPDX-License-Identifier: Apache-2.0
// Moves bytes between ranks. LocalTransport (ranks are threads of one process) and MpiTransport
// (ranks are processes) work with memory of the host; others stand on one of them for memory of
// devices (carried_transport.h).
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/device/backend.h"
#include "kernels/device/stream.h"

namespace halfpipe::transport {

/// A started send or receive. A small index into the transport's table; each is waited for exactly
/// once.
struct Request {
  std::int32_t index = -1;
};

/// What a rank is doing, for messages about ranks that stand still. Cheap to publish: once per
/// instruction.
struct RankStatus {
  std::int64_t step = -1;
  std::int32_t instruction = -1;  // index into the rank's program, -1 outside a step
  char text[96] =
      "starting";  // e.g. "wait_recv activation of micro-batch 3, stage 1 -> 2, from rank 1"
  std::int32_t peer = -1;  // the rank waited for, or -1
};

/// A transport belongs to one rank and is used by one thread of it. Point-to-point messages between
/// two ranks form one FIFO per direction: the k-th send is the k-th receive, and both sides name
/// the same number of bytes. Every blocking call keeps watch: when nothing has moved for the
/// timeout, or a peer is found dead, it reports the statuses of all ranks that it can see and
/// throws RankLost.
class Transport {
 public:
  virtual ~Transport() = default;
  Transport() = default;
  Transport(const Transport&) = delete;
  Transport& operator=(const Transport&) = delete;

  [[nodiscard]] virtual int rank() const = 0;
  [[nodiscard]] virtual int world_size() const = 0;
  /// Ranks that share this rank's machine, itself included.
  [[nodiscard]] virtual int ranks_on_this_host() const = 0;
  /// This rank's number among those, from 0: GPUs are dealt out by it.
  [[nodiscard]] virtual int rank_on_this_host() const = 0;

  /// Where the bytes of messages lie: pinned for a transport that reads and writes them from the
  /// host, device memory for one that the device drives.
  [[nodiscard]] virtual device::MemoryKind message_memory() const = 0;
  /// Starts to send; reads src after the work already on stream. src must stay untouched until
  /// wait() returned.
  [[nodiscard]] virtual Request send(std::span<const std::byte> src,
                                     int dst_rank,
                                     device::Stream& stream) = 0;
  /// Starts to receive into dst; overwrites it after the work already on stream, which may still
  /// read it. Work enqueued later must leave dst untouched until wait() returned. Progress needs no
  /// further call.
  [[nodiscard]] virtual Request post_recv(std::span<std::byte> dst,
                                          int src_rank,
                                          device::Stream& stream) = 0;
  /// Work enqueued on stream later sees the message (receive), or may overwrite the source (send).
  /// May block the host.
  virtual void wait(Request request, device::Stream& stream) = 0;
  /// The same, but gives up at `deadline`: false then, and the request still has to be waited for.
  /// With a deadline that has passed it only looks.
  [[nodiscard]] virtual bool wait_until(Request request,
                                        device::Stream& stream,
                                        std::chrono::steady_clock::time_point deadline) = 0;

  /// Blocks until done(), which is asked every so often, or `deadline`; returns done(). For what
  /// others bring about by means that this transport does not know; keeps watch as over a message
  /// of `peer`, -1: of all ranks. `what` is for messages, e.g. "receive of 4096 bytes".
  [[nodiscard]] virtual bool watch_until(std::string_view what,
                                         int peer,
                                         const std::function<bool()>& done,
                                         std::chrono::steady_clock::time_point deadline) = 0;
  /// stream.synchronize(), and keeps watch where work on the stream may wait for other ranks.
  virtual void synchronize(device::Stream& stream) { stream.synchronize(); }

  /// True where a message under way is a kernel that waits for its peer: what the device does at
  /// first use alone, and waits for all its kernels, has to be done before.
  [[nodiscard]] virtual bool messages_hold_the_device_up() const { return false; }
  /// For a rank that fails while messages are under way: none touches its buffer any more, and no
  /// other message will be sent. Does nothing under MPI, where the process ends.
  virtual void give_up_messages() noexcept {}

  /// Element-wise sum over all ranks of host values, in rank order, the same bits everywhere.
  /// Collective.
  virtual void all_reduce_sum(std::span<double> inout) = 0;
  /// Bytes of root reach every rank; on the others the vector is replaced. Collective.
  virtual void broadcast(std::vector<std::byte>& inout, int root) = 0;
  /// Bytes of every rank, in rank order, on every rank. Collective.
  [[nodiscard]] virtual std::vector<std::vector<std::byte>> all_gather(
      std::span<const std::byte> mine) = 0;
  virtual void barrier() = 0;

  /// Says what this rank does now. Visible to the ranks of the same host.
  virtual void publish(const RankStatus& status) = 0;
  /// Seconds without progress after which a blocking call gives up; 0 waits for ever. A publish()
  /// of any rank of this host counts as progress, so a rank publishes during long work (a
  /// checkpoint).
  virtual void set_timeout(double seconds) = 0;

  /// True for the first rank of this host that asks, once per job: that one alone says why the job
  /// ends.
  [[nodiscard]] virtual bool claim_last_words() noexcept = 0;
  /// Ends the whole job with exit_code: no rank is left hanging. Prints nothing. Under MPI it does
  /// not return. A rank that fails calls it before the buffers of its started messages go away.
  virtual void abort(int exit_code) noexcept = 0;
};

}  // namespace halfpipe::transport
