// SPDX-License-Identifier: Apache-2.0
#include "parallel/transport/staged_transport.h"

#include <algorithm>
#include <new>

#include "kernels/core/error.h"

namespace halfpipe::transport {

StagedTransport::StagedTransport(Transport& carrier, device::Backend& backend)
    : CarriedTransport(carrier), backend_(backend), idle_(backend.make_stream("staging")) {
  HALFPIPE_CHECK(carrier.message_memory() == device::MemoryKind::kPinned,
                 "only a transport of host memory needs staging");
}

StagedTransport::~StagedTransport() {
  const bool any = std::ranges::any_of(passages_, [](const Passage& p) { return p.under_way; });
  // Only a rank that fails leaves messages behind.
  if (any) new (std::nothrow) std::vector<Passage>(std::move(passages_));
}

std::int32_t StagedTransport::take_passage(std::size_t bytes) {
  for (std::size_t i = 0; i < passages_.size(); ++i) {
    Passage& passage = passages_[i];
    if (passage.under_way || passage.pinned.bytes() != bytes) continue;
    passage.copied->synchronize();
    passage.under_way = true;
    return static_cast<std::int32_t>(i);
  }
  Passage passage;
  passage.pinned = device::Buffer(backend_, bytes, device::MemoryKind::kPinned);
  passage.copied = backend_.make_event();
  passage.under_way = true;
  passages_.push_back(std::move(passage));
  return static_cast<std::int32_t>(passages_.size()) - 1;
}

Request StagedTransport::send(std::span<const std::byte> src,
                              int dst_rank,
                              device::Stream& stream) {
  const std::int32_t index = take_passage(src.size());
  Passage& passage = passages_[static_cast<std::size_t>(index)];
  passage.destination = {};
  if (!src.empty()) {
    backend_.copy_async(passage.pinned.bytes_pointer(), src.data(), src.size(), stream);
  }
  passage.carried = carrier().send({passage.pinned.bytes_pointer(), src.size()}, dst_rank, stream);
  return {index};
}

Request StagedTransport::post_recv(std::span<std::byte> dst,
                                   int src_rank,
                                   device::Stream& /*stream*/) {
  const std::int32_t index = take_passage(dst.size());
  Passage& passage = passages_[static_cast<std::size_t>(index)];
  passage.destination = dst;
  passage.carried =
      carrier().post_recv({passage.pinned.bytes_pointer(), dst.size()}, src_rank, *idle_);
  return {index};
}

void StagedTransport::wait(Request request, device::Stream& stream) {
  (void)wait_until(request, stream, std::chrono::steady_clock::time_point::max());
}

bool StagedTransport::wait_until(Request request,
                                 device::Stream& stream,
                                 std::chrono::steady_clock::time_point deadline) {
  const auto index = static_cast<std::size_t>(request.index);
  HALFPIPE_CHECK(request.index >= 0 && index < passages_.size() && passages_[index].under_way,
                 "a request is waited for exactly once");
  Passage& passage = passages_[index];
  if (!carrier().wait_until(passage.carried, stream, deadline)) return false;
  passage.under_way = false;
  if (passage.destination.empty()) return true;
  backend_.copy_async(passage.destination.data(), passage.pinned.bytes_pointer(),
                      passage.destination.size(), stream);
  stream.record(*passage.copied);
  return true;
}

std::unique_ptr<Transport> make_staging_if_needed(Transport& carrier, device::Backend& backend) {
  if (backend.host_reaches_memory()) return nullptr;
  return std::make_unique<StagedTransport>(carrier, backend);
}

}  // namespace halfpipe::transport
