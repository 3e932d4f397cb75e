// SPDX-License-Identifier: Apache-2.0
// An operand of a kernel under test in the memory of the GPU, between two guard regions, as
// GuardedBuffer is on the host.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <limits>
#include <vector>

#include "kernels/core/bfloat16.h"
#include "kernels/core/dtype.h"
#include "kernels/device/buffer.h"
#include "tests/kernels/cuda/cuda_environment.h"

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

/// Copies and operations are on cuda_stream(). The guards are checked when the operand goes out of
/// scope.
class DeviceOperand {
 public:
  /// At `offset_bytes` past a multiple of 256 bytes.
  DeviceOperand(DType dtype, const std::vector<float>& values, std::size_t offset_bytes = 0)
      : dtype_(dtype),
        num_bytes_(values.size() * size_of(dtype)),
        begin_(kGuardBytes + offset_bytes),
        memory_(cuda_backend(), begin_ + num_bytes_ + kGuardBytes) {
    std::vector<std::byte> image(memory_.bytes());
    for (std::size_t at = 0; at < image.size(); ++at) image[at] = sentinel(at);
    const std::vector<std::byte> elements = encode(dtype, values);
    if (num_bytes_ != 0) std::memcpy(image.data() + begin_, elements.data(), num_bytes_);
    cuda_backend().copy_async(memory_.bytes_pointer(), image.data(), image.size(), cuda_stream());
    cuda_stream().synchronize();
  }
  /// Poisoned: NaN.
  DeviceOperand(DType dtype, std::int64_t count, std::size_t offset_bytes = 0)
      : DeviceOperand(dtype,
                      std::vector<float>(static_cast<std::size_t>(count),
                                         std::numeric_limits<float>::quiet_NaN()),
                      offset_bytes) {}
  ~DeviceOperand() {
    try {
      EXPECT_TRUE(guards_intact())
          << "a kernel wrote outside its operand of " << num_bytes_ << " bytes";
    } catch (const std::exception& error) {
      ADD_FAILURE() << error.what();
    }
  }
  DeviceOperand(const DeviceOperand&) = delete;
  DeviceOperand& operator=(const DeviceOperand&) = delete;

  [[nodiscard]] void* get() const { return memory_.bytes_pointer() + begin_; }
  /// Waits for what cuda_stream() has been given.
  [[nodiscard]] std::vector<float> values() const {
    const std::vector<std::byte> image = download();
    const auto first = image.begin() + static_cast<std::ptrdiff_t>(begin_);
    return decode(dtype_, {first, first + static_cast<std::ptrdiff_t>(num_bytes_)});
  }
  [[nodiscard]] bool guards_intact() const {
    const std::vector<std::byte> image = download();
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
  [[nodiscard]] std::vector<std::byte> download() const {
    std::vector<std::byte> image(memory_.bytes());
    cuda_backend().copy_async(image.data(), memory_.bytes_pointer(), image.size(), cuda_stream());
    cuda_stream().synchronize();
    return image;
  }

  DType dtype_;
  std::size_t num_bytes_;
  std::size_t begin_;
  device::Buffer memory_;
};

}  // namespace halfpipe::testing
