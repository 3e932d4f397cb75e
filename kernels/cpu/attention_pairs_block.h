// SPDX-License-Identifier: Apache-2.0
// What attention by products of pairs shares, both ways: its scratch and a transposition.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/core/align.h"
#include "kernels/core/bfloat16.h"
#include "kernels/cpu/attention_block.h"
#include "kernels/cpu/transpose.h"

namespace halfpipe::cpu {

/// Cuts one thread's scratch into arrays that start at whole cache lines. From a null base it only
/// counts.
class ScratchCutter {
 public:
  explicit ScratchCutter(std::byte* base_or_null) : base_or_null_(base_or_null) {}

  template <typename T>
  T* take(std::int64_t count) {
    T* const taken =
        base_or_null_ == nullptr ? nullptr : reinterpret_cast<T*>(base_or_null_ + bytes_);
    bytes_ += padded_bytes(static_cast<std::size_t>(count) * sizeof(T));
    return taken;
  }
  [[nodiscard]] std::size_t bytes() const { return bytes_; }

 private:
  std::byte* base_or_null_;
  std::size_t bytes_ = 0;
};

/// pairs[d, l] = {rows[l, 2 d], rows[l, 2 d + 1]} for the first num_rows lanes l, 0 for the others.
/// HS is even.
inline void transpose_pairs(const BFloat16* rows,
                            std::int64_t row_stride,
                            std::int64_t num_rows,
                            std::int64_t HS,
                            float* copied,      // [kQueryBlock, HS / 2], overwritten
                            BFloat16* pairs) {  // [HS / 2, kQueryBlock, 2]
  // A pair is as large as a float and travels as one: its bits are only moved.
  const std::int64_t num_pairs = HS / 2;
  for (std::int64_t l = 0; l < num_rows; ++l) {
    std::memcpy(copied + l * num_pairs, rows + l * row_stride,
                static_cast<std::size_t>(num_pairs) * sizeof(float));
  }
  std::fill(copied + num_rows * num_pairs, copied + kQueryBlock * num_pairs, 0.0F);
  transpose(copied, num_pairs, kQueryBlock, num_pairs, reinterpret_cast<float*>(pairs),
            kQueryBlock);
}

}  // namespace halfpipe::cpu
