// SPDX-License-Identifier: Apache-2.0
// Messages in device memory over a transport that works with host memory: each passes through a
// pinned buffer on either side.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "kernels/device/backend.h"
#include "kernels/device/buffer.h"
#include "parallel/transport/carried_transport.h"

namespace halfpipe::transport {

/// Streams are those of the backend. A send occupies its source until its copy has left the
/// device; a receive reaches dst by a copy on the stream given to wait(). The pinned buffers are
/// taken when they are first needed and used again afterwards, so that a step allocates nothing
/// once one like it has run.
class StagedTransport final : public CarriedTransport {
 public:
  /// Both must outlive it. The carrier's message_memory() must be kPinned.
  StagedTransport(Transport& carrier, device::Backend& backend);
  /// Buffers that the carrier may still touch stay in memory until the process ends.
  ~StagedTransport() override;

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
  /// One message under way, and the pinned buffer that it passes through.
  struct Passage {
    device::Buffer pinned;
    std::unique_ptr<device::Event> copied;  // out of the buffer, into the device
    bool under_way = false;
    std::span<std::byte> destination;  // of a receive; empty: a send
    Request carried;
  };

  /// A passage for `bytes` that nothing uses any more.
  [[nodiscard]] std::int32_t take_passage(std::size_t bytes);

  device::Backend& backend_;
  std::unique_ptr<device::Stream> idle_;  // a receive overwrites nothing that a stream still reads
  std::vector<Passage> passages_;         // indexed by requests
};

/// A StagedTransport where the host cannot reach the backend's memory; else null: the carrier does.
[[nodiscard]] std::unique_ptr<Transport> make_staging_if_needed(Transport& carrier,
                                                                device::Backend& backend);

}  // namespace halfpipe::transport
