// SPDX-License-Identifier: Apache-2.0
// An operand of a CUDA kernel under test in device memory, between two guard regions, as
// GuardedBuffer is on the host.
#pragma once

#include <gtest/gtest.h>

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/core/bfloat16.h"
#include "kernels/core/dtype.h"

namespace halfpipe::testing {

/// What a tensor of `dtype`, float32 or bfloat16, holds when these values are written to it.
inline std::vector<float> rounded(DType dtype, std::vector<float> values) {
  if (dtype == DType::kBFloat16) {
    for (float& value : values) value = to_float(to_bfloat16(value));
  }
  return values;
}

/// A bound on the normalised error of a result that is computed as accurately as `of_float32` says
/// and then rounded once to `dtype`.
inline double with_rounding(DType dtype, double of_float32) {
  constexpr double kHalfUlpOfBFloat16 = 1.0 / 256.0;
  return dtype == DType::kBFloat16 ? kHalfUlpOfBFloat16 + of_float32 : of_float32;
}

inline void require_success(cudaError_t status) {
  if (status != cudaSuccess) throw std::runtime_error(cudaGetErrorString(status));
}

/// Elements of float32, bfloat16 or int32. The guards are checked when the array goes out of scope,
/// so no test can forget to.
class DeviceArray {
 public:
  /// Begins `offset` elements past a multiple of 256 bytes.
  DeviceArray(DType dtype, const std::vector<float>& values, std::size_t offset = 0)
      : DeviceArray(dtype, values.size(), offset, encode(dtype, values)) {}
  /// Poisoned: NaN.
  DeviceArray(DType dtype, std::int64_t count, std::size_t offset = 0)
      : DeviceArray(dtype,
                    std::vector<float>(static_cast<std::size_t>(count),
                                       std::numeric_limits<float>::quiet_NaN()),
                    offset) {}
  explicit DeviceArray(const std::vector<std::int32_t>& values)
      : DeviceArray(DType::kInt32, values.size(), 0, values.data()) {}
  ~DeviceArray() {
    EXPECT_TRUE(guards_intact()) << "a kernel wrote outside its operand of " << num_bytes_
                                 << " bytes";
    EXPECT_EQ(cudaFree(memory_), cudaSuccess);
  }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;

  [[nodiscard]] void* get() const { return memory_ + begin_; }
  template <typename T>
  [[nodiscard]] T* as() const {
    return static_cast<T*>(get());
  }
  /// Of float32 or bfloat16, after all work of the default stream.
  [[nodiscard]] std::vector<float> values() const {
    const std::vector<std::byte> image = download();
    std::vector<float> values(num_bytes_ / size_of(dtype_));
    for (std::size_t i = 0; i < values.size(); ++i) {
      const std::byte* element = image.data() + begin_ + i * size_of(dtype_);
      if (dtype_ == DType::kBFloat16) {
        BFloat16 bits{};
        std::memcpy(&bits, element, sizeof(bits));
        values[i] = to_float(bits);
      } else {
        std::memcpy(&values[i], element, sizeof(float));
      }
    }
    return values;
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

  DeviceArray(DType dtype, std::size_t count, std::size_t offset, const std::vector<std::byte>& raw)
      : DeviceArray(dtype, count, offset, raw.data()) {}
  DeviceArray(DType dtype, std::size_t count, std::size_t offset, const void* elements)
      : dtype_(dtype),
        num_bytes_(count * size_of(dtype)),
        begin_(kGuardBytes + offset * size_of(dtype)) {
    std::vector<std::byte> image(begin_ + num_bytes_ + kGuardBytes);
    for (std::size_t at = 0; at < image.size(); ++at) image[at] = sentinel(at);
    if (num_bytes_ != 0) std::memcpy(image.data() + begin_, elements, num_bytes_);
    void* memory = nullptr;
    require_success(cudaMalloc(&memory, image.size()));
    memory_ = static_cast<std::byte*>(memory);
    require_success(cudaMemcpy(memory_, image.data(), image.size(), cudaMemcpyHostToDevice));
  }

  // The half word 0x7FF8, repeated: a NaN read as bfloat16, as float32 and as float64.
  [[nodiscard]] static std::byte sentinel(std::size_t at) {
    return at % 2 == 0 ? std::byte{0xF8} : std::byte{0x7F};
  }
  [[nodiscard]] static std::vector<std::byte> encode(DType dtype,
                                                     const std::vector<float>& values) {
    std::vector<std::byte> raw(values.size() * size_of(dtype));
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (dtype == DType::kBFloat16) {
        const BFloat16 bits = to_bfloat16(values[i]);
        std::memcpy(raw.data() + i * sizeof(bits), &bits, sizeof(bits));
      } else {
        std::memcpy(raw.data() + i * sizeof(float), &values[i], sizeof(float));
      }
    }
    return raw;
  }
  [[nodiscard]] std::vector<std::byte> download() const {
    std::vector<std::byte> image(begin_ + num_bytes_ + kGuardBytes);
    require_success(cudaMemcpy(image.data(), memory_, image.size(), cudaMemcpyDeviceToHost));
    return image;
  }

  DType dtype_;
  std::size_t num_bytes_;
  std::size_t begin_;
  std::byte* memory_ = nullptr;
};

}  // namespace halfpipe::testing
