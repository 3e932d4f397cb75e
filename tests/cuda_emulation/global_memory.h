// SPDX-License-Identifier: Apache-2.0
// A vector in device memory, for the tests of the emulation.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <vector>

#include "tests/cuda_emulation/runtime_api.h"

namespace halfpipe::cuda_emulation {

template <typename T>
class GlobalMemory {
 public:
  explicit GlobalMemory(std::size_t count) : count_(count) {
    EXPECT_EQ(cudaMalloc(&pointer_, count * sizeof(T)), cudaSuccess);
  }
  explicit GlobalMemory(const std::vector<T>& values) : GlobalMemory(values.size()) {
    EXPECT_EQ(cudaMemcpy(pointer_, values.data(), count_ * sizeof(T), cudaMemcpyHostToDevice),
              cudaSuccess);
  }
  ~GlobalMemory() { EXPECT_EQ(cudaFree(pointer_), cudaSuccess); }
  GlobalMemory(const GlobalMemory&) = delete;
  GlobalMemory& operator=(const GlobalMemory&) = delete;

  [[nodiscard]] T* get() const { return pointer_; }

  /// After all work of the null stream.
  [[nodiscard]] std::vector<T> read() const {
    std::vector<T> values(count_);
    EXPECT_EQ(cudaMemcpy(values.data(), pointer_, count_ * sizeof(T), cudaMemcpyDeviceToHost),
              cudaSuccess);
    return values;
  }

 private:
  std::size_t count_;
  T* pointer_ = nullptr;
};

}  // namespace halfpipe::cuda_emulation
