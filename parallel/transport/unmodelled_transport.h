// SPDX-License-Identifier: Apache-2.0
// What ranks on modelled devices tell one another beside the messages of their devices.
#pragma once

#include <algorithm>
#include <chrono>
#include <functional>
#include <span>
#include <string_view>

#include "parallel/transport/carried_transport.h"
#include "parallel/transport/modelled_transport.h"

namespace halfpipe::transport {

/// The carrier's own messages, with their bytes and no modelled time. Sends of modelled transports
/// leave on time while the host waits here.
class UnmodelledTransport final : public CarriedTransport {
  using TimePoint = Departures::TimePoint;

 public:
  /// Both must outlive it.
  UnmodelledTransport(Transport& carrier, Departures& departures)
      : CarriedTransport(carrier), departures_(departures) {}

  [[nodiscard]] device::MemoryKind message_memory() const override {
    return carrier().message_memory();
  }
  [[nodiscard]] Request send(std::span<const std::byte> src,
                             int dst_rank,
                             device::Stream& stream) override {
    return carrier().send(src, dst_rank, stream);
  }
  [[nodiscard]] Request post_recv(std::span<std::byte> dst,
                                  int src_rank,
                                  device::Stream& stream) override {
    return carrier().post_recv(dst, src_rank, stream);
  }
  void wait(Request request, device::Stream& stream) override {
    (void)wait_until(request, stream, TimePoint::max());
  }
  [[nodiscard]] bool wait_until(Request request,
                                device::Stream& stream,
                                TimePoint deadline) override {
    return until(deadline,
                 [&](TimePoint next) { return carrier().wait_until(request, stream, next); });
  }
  [[nodiscard]] bool watch_until(std::string_view what,
                                 int peer,
                                 const std::function<bool()>& done,
                                 TimePoint deadline) override {
    return until(deadline,
                 [&](TimePoint next) { return carrier().watch_until(what, peer, done, next); });
  }
  void give_up_messages() noexcept override { carrier().give_up_messages(); }

 private:
  /// wait(t) waits until t at most and says whether it is over.
  template <typename Wait>
  bool until(TimePoint deadline, const Wait& wait) {
    // Who only looks may do so while the carrier asks it in a wait, where it cannot send.
    if (deadline <= TimePoint::clock::now()) return wait(deadline);
    for (;;) {
      const TimePoint next = std::min(departures_.start_due(), deadline);
      if (wait(next)) return true;
      if (next == deadline) return false;
    }
  }

  Departures& departures_;
};

}  // namespace halfpipe::transport
