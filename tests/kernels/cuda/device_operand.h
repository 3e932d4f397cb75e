// SPDX-License-Identifier: Apache-2.0
// An operand of a kernel under test in the memory of the GPU, between two guard regions, as
// GuardedBuffer is on the host.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <limits>
#include <vector>

#include "kernels/core/dtype.h"
#include "kernels/device/buffer.h"
#include "tests/kernels/cuda/cuda_environment.h"
#include "tests/kernels/cuda/guarded_image.h"

namespace halfpipe::testing {

/// Copies and operations are on cuda_stream(). The guards are checked when the operand goes out of
/// scope.
class DeviceOperand {
 public:
  /// At `offset_bytes` past a multiple of 256 bytes.
  DeviceOperand(DType dtype, const std::vector<float>& values, std::size_t offset_bytes = 0)
      : dtype_(dtype),
        layout_(values.size() * size_of(dtype), offset_bytes),
        memory_(cuda_backend(), layout_.size()) {
    const std::vector<std::byte> image = layout_.with(encode(dtype, values).data());
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
          << "a kernel wrote outside its operand of " << layout_.num_bytes() << " bytes";
    } catch (const std::exception& error) {
      ADD_FAILURE() << error.what();
    }
  }
  DeviceOperand(const DeviceOperand&) = delete;
  DeviceOperand& operator=(const DeviceOperand&) = delete;

  [[nodiscard]] void* get() const { return memory_.bytes_pointer() + layout_.begin(); }
  /// Waits for what cuda_stream() has been given.
  [[nodiscard]] std::vector<float> values() const {
    return decode(dtype_, layout_.elements_of(download()));
  }
  [[nodiscard]] bool guards_intact() const { return layout_.guards_intact(download()); }

 private:
  [[nodiscard]] std::vector<std::byte> download() const {
    std::vector<std::byte> image(memory_.bytes());
    cuda_backend().copy_async(image.data(), memory_.bytes_pointer(), image.size(), cuda_stream());
    cuda_stream().synchronize();
    return image;
  }

  DType dtype_;
  GuardedImage layout_;
  device::Buffer memory_;
};

}  // namespace halfpipe::testing
