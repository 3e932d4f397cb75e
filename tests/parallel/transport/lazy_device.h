// SPDX-License-Identifier: Apache-2.0
// A device whose memory the host must not touch: copies run when somebody waits for their stream.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <vector>

#include "kernels/core/error.h"
#include "kernels/device/backend.h"
#include "tests/parallel/transport/lazy_stream.h"

namespace halfpipe::transport {

/// Streams are LazyStreams. It has no operations.
class LazyDevice final : public device::Backend {
 public:
  [[nodiscard]] std::string_view name() const override { return "lazy"; }
  [[nodiscard]] bool host_reaches_memory() const override { return false; }
  [[nodiscard]] void* allocate(std::size_t bytes, device::MemoryKind kind) override {
    if (kind == device::MemoryKind::kPinned) ++num_pinned_buffers_;
    return new std::byte[bytes];
  }
  void deallocate(void* pointer, device::MemoryKind /*kind*/) noexcept override {
    delete[] static_cast<std::byte*>(pointer);
  }
  void copy_async(void* dst, const void* src, std::size_t bytes, device::Stream& stream) override {
    dynamic_cast<LazyStream&>(stream).enqueue([=] { std::memcpy(dst, src, bytes); });
  }
  void fill_async(void* dst, std::byte value, std::size_t bytes, device::Stream& stream) override {
    dynamic_cast<LazyStream&>(stream).enqueue(
        [=] { std::memset(dst, std::to_integer<int>(value), bytes); });
  }
  [[nodiscard]] std::unique_ptr<device::Stream> make_stream(std::string_view /*label*/) override {
    return std::make_unique<LazyStream>();
  }
  [[nodiscard]] std::unique_ptr<device::Event> make_event() override {
    return std::make_unique<LazyEvent>();
  }
  [[nodiscard]] const ops::Ops& ops() const override {
    throw InternalError("a lazy device has no operations");
  }

  /// Ever taken.
  [[nodiscard]] int num_pinned_buffers() const { return num_pinned_buffers_; }

 private:
  int num_pinned_buffers_ = 0;
};

}  // namespace halfpipe::transport
