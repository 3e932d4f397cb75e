// SPDX-License-Identifier: Apache-2.0
// Owner of bytes of a Backend.
#pragma once

#include <cstddef>
#include <utility>

#include "kernels/device/backend.h"

namespace halfpipe::device {

/// Move-only; a moved-from or default Buffer owns nothing. The backend must outlive it.
class Buffer {
 public:
  Buffer() = default;
  Buffer(Backend& backend, std::size_t bytes, MemoryKind kind = MemoryKind::kDevice)
      : backend_(&backend),
        pointer_(bytes == 0 ? nullptr : backend.allocate(bytes, kind)),
        bytes_(bytes),
        kind_(kind) {}
  ~Buffer() { reset(); }
  Buffer(Buffer&& other) noexcept
      : backend_(other.backend_),
        pointer_(std::exchange(other.pointer_, nullptr)),
        bytes_(std::exchange(other.bytes_, 0)),
        kind_(other.kind_) {}
  Buffer& operator=(Buffer&& other) noexcept {
    if (this != &other) {
      reset();
      backend_ = other.backend_;
      pointer_ = std::exchange(other.pointer_, nullptr);
      bytes_ = std::exchange(other.bytes_, 0);
      kind_ = other.kind_;
    }
    return *this;
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  [[nodiscard]] std::byte* bytes_pointer() const { return static_cast<std::byte*>(pointer_); }
  template <typename T>
  [[nodiscard]] T* as() const {
    return static_cast<T*>(pointer_);
  }
  [[nodiscard]] std::size_t bytes() const { return bytes_; }

 private:
  void reset() noexcept {
    if (pointer_ != nullptr) backend_->deallocate(pointer_, kind_);
    pointer_ = nullptr;
  }

  Backend* backend_ = nullptr;
  void* pointer_ = nullptr;
  std::size_t bytes_ = 0;
  MemoryKind kind_ = MemoryKind::kDevice;
};

}  // namespace halfpipe::device
