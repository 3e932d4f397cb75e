// SPDX-License-Identifier: Apache-2.0
// Messages between modelled devices: each is a short one through a real transport, which leaves
// when the modelled stream has made its contents and counts when a modelled link would have brought
// it.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "parallel/transport/carried_transport.h"

namespace halfpipe::transport {

/// The way from this rank to another one, one message at a time: a message leaves when the bytes of
/// the one before have gone.
struct ModelledLink {
  static constexpr int kAlone = -1;

  double latency_seconds = 0.0;
  double bytes_per_second = 0.0;
  /// Links of a rank with the same number, from 0, are one adapter: one message at a time on all of
  /// them.
  int adapter = kAlone;
};

class ModelledTransport;

/// The sends of one rank that wait for their time. Transports that share them hand over each
/// other's: otherwise those of one would be late while the host waits in another.
class Departures {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  void add(TimePoint leaves, ModelledTransport& transport, std::int32_t message);
  /// Lets those go whose time has come, the earliest first and of one time those that were added
  /// first; returns when the next one's does.
  TimePoint start_due();
  /// Of a transport that ends.
  void forget(const ModelledTransport& transport);

 private:
  struct Departure {
    TimePoint leaves;
    std::int64_t number;  // of those added
    ModelledTransport* transport;
    std::int32_t message;
  };
  static bool is_later(const Departure& one, const Departure& other);

  std::vector<Departure> waiting_;  // a heap, the next one on top: thousands may wait
  std::int64_t num_added_ = 0;
};

/// Streams must be those of the modelled backend. Bytes named by the caller are neither read nor
/// written; sizes and the order of messages are checked at the receiver, which throws
/// InternalError. The host runs ahead of the device: it sleeps only for messages that are not there
/// yet, and for sends whose contents are not made yet. Every send is to be waited for, since only
/// waits hand messages over in time. All ranks must be on one host: they compare clocks.
class ModelledTransport final : public CarriedTransport {
 public:
  /// links: [world_size]. `carrier` must outlive it, and so must departures that it shares with
  /// other transports of this rank.
  ModelledTransport(Transport& carrier,
                    const std::vector<ModelledLink>& links,
                    Departures* shared_or_null = nullptr);
  /// Notes that the carrier may still touch stay in memory until the process ends.
  ~ModelledTransport() override;

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

 private:
  friend class Departures;
  using TimePoint = std::chrono::steady_clock::time_point;

  /// What goes through the carrier in place of the bytes.
  struct Note {
    std::int64_t number = 0;  // of the messages from one rank to another
    std::int64_t bytes = 0;
    std::int64_t arrival_ns = 0;  // of steady_clock
  };
  struct Message {
    enum class State : std::uint8_t { kFree, kReceiving, kToSend, kSent, kWaitedFor };
    State state = State::kFree;
    int peer = -1;
    std::int64_t number = 0;
    std::int64_t bytes = 0;
    Note note;
    Request carried;    // from kReceiving or kSent on
    TimePoint is_gone;  // of a send: its bytes may be overwritten
  };
  struct Peer {
    ModelledLink link;
    std::size_t adapter;  // index into adapter_free_at_
    std::int64_t num_sent = 0;
    std::int64_t num_received = 0;
  };

  [[nodiscard]] std::int32_t take_place();
  void give_back(std::int32_t index);
  [[nodiscard]] Message& at(std::int32_t index) {
    return messages_[static_cast<std::size_t>(index)];
  }
  [[nodiscard]] Peer& peer(int rank);
  /// Hands a send to the carrier.
  void depart(std::int32_t index);
  /// Gives back the places of sends that the carrier has brought across.
  void collect_sent();
  [[nodiscard]] bool finish_send(std::int32_t index, device::Stream& stream, TimePoint deadline);
  [[nodiscard]] bool finish_receive(std::int32_t index, device::Stream& stream, TimePoint deadline);

  Departures own_;  // where no others are shared
  Departures& departures_;
  std::vector<Peer> peers_;                 // [world_size]
  std::vector<TimePoint> adapter_free_at_;  // of adapters, and of links that are alone
  std::deque<Message> messages_;            // a deque: notes stay in place while it grows
  std::vector<std::int32_t> free_;          // indices into messages_
  std::vector<std::int32_t> sent_;          // waited for by the caller, not yet by the carrier
};

}  // namespace halfpipe::transport
