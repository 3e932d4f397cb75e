// SPDX-License-Identifier: Apache-2.0
// An operand of a CUDA kernel under test in device memory, between two guard regions, as
// GuardedBuffer is on the host.
#pragma once

#include <gtest/gtest.h>

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/core/dtype.h"
#include "tests/kernels/cuda/guarded_image.h"

namespace halfpipe::testing {

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
    EXPECT_TRUE(guards_intact()) << "a kernel wrote outside its operand of " << layout_.num_bytes()
                                 << " bytes";
    EXPECT_EQ(cudaFree(memory_), cudaSuccess);
  }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;

  [[nodiscard]] void* get() const { return memory_ + layout_.begin(); }
  template <typename T>
  [[nodiscard]] T* as() const {
    return static_cast<T*>(get());
  }
  /// Of float32 or bfloat16, after all work of the default stream.
  [[nodiscard]] std::vector<float> values() const {
    return decode(dtype_, layout_.elements_of(download()));
  }
  [[nodiscard]] bool guards_intact() const { return layout_.guards_intact(download()); }

 private:
  DeviceArray(DType dtype, std::size_t count, std::size_t offset, const std::vector<std::byte>& raw)
      : DeviceArray(dtype, count, offset, raw.data()) {}
  DeviceArray(DType dtype, std::size_t count, std::size_t offset, const void* elements)
      : dtype_(dtype), layout_(count * size_of(dtype), offset * size_of(dtype)) {
    const std::vector<std::byte> image = layout_.with(elements);
    void* memory = nullptr;
    require_success(cudaMalloc(&memory, image.size()));
    memory_ = static_cast<std::byte*>(memory);
    require_success(cudaMemcpy(memory_, image.data(), image.size(), cudaMemcpyHostToDevice));
  }

  [[nodiscard]] std::vector<std::byte> download() const {
    std::vector<std::byte> image(layout_.size());
    require_success(cudaMemcpy(image.data(), memory_, image.size(), cudaMemcpyDeviceToHost));
    return image;
  }

  DType dtype_;
  GuardedImage layout_;
  std::byte* memory_ = nullptr;
};

}  // namespace halfpipe::testing
