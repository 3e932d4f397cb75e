// SPDX-License-Identifier: Apache-2.0
// Memory of a device seen from the host through a window of constant size, so that what is saved
// and loaded takes no more host memory however large a tensor is.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/device/backend.h"

namespace halfpipe::runtime {

class HostWindow {
 public:
  /// Large enough that what a copy and a write cost apart from bytes does not count.
  static constexpr std::size_t kBytes = 8U << 20U;

  /// Both must outlive this; every copy is waited for.
  HostWindow(device::Backend& backend, device::Stream& stream, std::size_t bytes = kBytes)
      : backend_(backend), stream_(stream), bytes_(bytes) {}

  [[nodiscard]] std::int64_t num_elements(std::size_t element_bytes) const {
    return static_cast<std::int64_t>(bytes_.size() / element_bytes);
  }

  /// Calls visit(first, last, values) for elements first .. last - 1, window after window, until
  /// all `count` were there; `values` are theirs, and lie at `device` on the device.
  template <typename Visit>
  void read(const void* device, std::int64_t count, std::size_t element_bytes, Visit&& visit) {
    for_each_window(count, element_bytes, [&](std::int64_t first, std::int64_t last) {
      copy(bytes_.data(), static_cast<const std::byte*>(device) + offset(first, element_bytes),
           offset(last - first, element_bytes));
      visit(first, last, static_cast<const void*>(bytes_.data()));
    });
  }

  /// Calls fill(first, last, values) in the same way, and copies what it has set to the device.
  template <typename Fill>
  void write(void* device, std::int64_t count, std::size_t element_bytes, Fill&& fill) {
    for_each_window(count, element_bytes, [&](std::int64_t first, std::int64_t last) {
      fill(first, last, static_cast<void*>(bytes_.data()));
      copy(static_cast<std::byte*>(device) + offset(first, element_bytes), bytes_.data(),
           offset(last - first, element_bytes));
    });
  }

 private:
  static std::size_t offset(std::int64_t elements, std::size_t element_bytes) {
    return static_cast<std::size_t>(elements) * element_bytes;
  }

  template <typename Visit>
  void for_each_window(std::int64_t count, std::size_t element_bytes, Visit&& visit) {
    const std::int64_t window = num_elements(element_bytes);
    for (std::int64_t first = 0; first < count; first += window) {
      visit(first, std::min(first + window, count));
    }
  }

  void copy(void* to, const void* from, std::size_t bytes) {
    backend_.copy_async(to, from, bytes, stream_);
    stream_.synchronize();
  }

  device::Backend& backend_;
  device::Stream& stream_;
  std::vector<std::byte> bytes_;
};

}  // namespace halfpipe::runtime
