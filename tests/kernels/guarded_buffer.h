// SPDX-License-Identifier: Apache-2.0
// An operand of a kernel under test, between two guard regions: a write outside shows in the
// guards, a read outside brings a NaN into the result.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <span>
#include <type_traits>
#include <vector>

#include "kernels/core/bfloat16.h"

namespace halfpipe::testing {

/// `count` elements of T, 64-byte aligned as every tensor of Halfpipe is. The guards are checked
/// when the buffer goes out of scope, so no test can forget to.
template <typename T>
class GuardedBuffer {
 public:
  /// Poisoned: NaN, or the smallest value of an integer type.
  explicit GuardedBuffer(std::int64_t count) : count_(static_cast<std::size_t>(count)) {
    memory_.reset(static_cast<std::byte*>(
        ::operator new (kGuardBytes + guarded_bytes(), std::align_val_t{kGuardBytes})));
    for (std::size_t at = 0; at < kGuardBytes + guarded_bytes(); ++at) memory_[at] = sentinel(at);
    for (T& value : span()) value = poison();
  }
  explicit GuardedBuffer(const std::vector<T>& values)
      : GuardedBuffer(static_cast<std::int64_t>(values.size())) {
    std::copy(values.begin(), values.end(), get());
  }
  ~GuardedBuffer() {
    EXPECT_TRUE(guards_intact()) << "a kernel wrote outside its operand of " << count_
                                 << " elements";
  }
  GuardedBuffer(const GuardedBuffer&) = delete;
  GuardedBuffer& operator=(const GuardedBuffer&) = delete;

  [[nodiscard]] T* get() const { return reinterpret_cast<T*>(memory_.get() + kGuardBytes); }
  [[nodiscard]] std::span<T> span() const { return {get(), count_}; }
  [[nodiscard]] std::vector<T> values() const { return {span().begin(), span().end()}; }

  [[nodiscard]] bool guards_intact() const {
    for (std::size_t at = 0; at < kGuardBytes; ++at) {
      const std::size_t behind = kGuardBytes + count_ * sizeof(T) + at;
      if (memory_[at] != sentinel(at) || memory_[behind] != sentinel(behind)) return false;
    }
    return true;
  }

 private:
  static constexpr std::size_t kGuardBytes = 256;

  struct Free {
    void operator()(std::byte* pointer) const {
      ::operator delete (pointer, std::align_val_t{kGuardBytes});
    }
  };

  [[nodiscard]] std::size_t guarded_bytes() const { return count_ * sizeof(T) + kGuardBytes; }
  // The word 0x7FF8A5A5, repeated: a NaN read as float32 and as float64, and every other bfloat16.
  [[nodiscard]] static std::byte sentinel(std::size_t at) {
    constexpr std::byte kWord[] = {std::byte{0xA5}, std::byte{0xA5}, std::byte{0xF8},
                                   std::byte{0x7F}};
    return kWord[at % 4];
  }
  [[nodiscard]] static T poison() {
    if constexpr (std::is_floating_point_v<T>) return std::numeric_limits<T>::quiet_NaN();
    if constexpr (std::is_same_v<T, BFloat16>) return BFloat16{0x7FC0};  // NaN
    return std::numeric_limits<T>::min();
  }

  std::size_t count_;
  std::unique_ptr<std::byte[], Free> memory_;
};

}  // namespace halfpipe::testing
