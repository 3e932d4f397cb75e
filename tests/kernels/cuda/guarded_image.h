// SPDX-License-Identifier: Apache-2.0
// What lies in device memory for an operand of a kernel under test: its elements between two guard
// regions, as GuardedBuffer has them on the host.
#pragma once

#include <cstddef>
#include <cstring>
#include <vector>

#include "kernels/core/bfloat16.h"
#include "kernels/core/dtype.h"

namespace halfpipe::testing {

/// Floats as the elements of a tensor of `dtype`, float32 or bfloat16.
inline std::vector<std::byte> encode(DType dtype, const std::vector<float>& values) {
  std::vector<std::byte> bytes(values.size() * size_of(dtype));
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (dtype == DType::kBFloat16) {
      const BFloat16 element = to_bfloat16(values[i]);
      std::memcpy(bytes.data() + i * sizeof(element), &element, sizeof(element));
    } else {
      std::memcpy(bytes.data() + i * sizeof(float), &values[i], sizeof(float));
    }
  }
  return bytes;
}

inline std::vector<float> decode(DType dtype, const std::vector<std::byte>& bytes) {
  std::vector<float> values(bytes.size() / size_of(dtype));
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (dtype == DType::kBFloat16) {
      BFloat16 element{};
      std::memcpy(&element, bytes.data() + i * sizeof(element), sizeof(element));
      values[i] = to_float(element);
    } else {
      std::memcpy(&values[i], bytes.data() + i * sizeof(float), sizeof(float));
    }
  }
  return values;
}

/// Where the elements are in an image, which begins at a multiple of 256 bytes.
class GuardedImage {
 public:
  /// At `offset_bytes` past a multiple of 256 bytes.
  GuardedImage(std::size_t num_bytes, std::size_t offset_bytes)
      : num_bytes_(num_bytes), begin_(kGuardBytes + offset_bytes) {}

  [[nodiscard]] std::size_t begin() const { return begin_; }
  [[nodiscard]] std::size_t num_bytes() const { return num_bytes_; }
  [[nodiscard]] std::size_t size() const { return begin_ + num_bytes_ + kGuardBytes; }

  /// The elements and guards that are intact.
  [[nodiscard]] std::vector<std::byte> with(const void* elements) const {
    std::vector<std::byte> image(size());
    for (std::size_t at = 0; at < image.size(); ++at) image[at] = sentinel(at);
    if (num_bytes_ != 0) std::memcpy(image.data() + begin_, elements, num_bytes_);
    return image;
  }
  [[nodiscard]] std::vector<std::byte> elements_of(const std::vector<std::byte>& image) const {
    const auto first = image.begin() + static_cast<std::ptrdiff_t>(begin_);
    return {first, first + static_cast<std::ptrdiff_t>(num_bytes_)};
  }
  [[nodiscard]] bool guards_intact(const std::vector<std::byte>& image) const {
    for (std::size_t at = 0; at < image.size(); ++at) {
      const bool is_guard = at < begin_ || at >= begin_ + num_bytes_;
      if (is_guard && image[at] != sentinel(at)) return false;
    }
    return true;
  }

 private:
  static constexpr std::size_t kGuardBytes = 256;

  // The half word 0x7FF8, repeated: a NaN read as bfloat16, as float32 and as float64.
  [[nodiscard]] static std::byte sentinel(std::size_t at) {
    return at % 2 == 0 ? std::byte{0xF8} : std::byte{0x7F};
  }

  std::size_t num_bytes_;
  std::size_t begin_;
};

}  // namespace halfpipe::testing
