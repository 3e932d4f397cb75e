// SPDX-License-Identifier: Apache-2.0
// Element-wise kernels: one pass over some arrays of equal length, groups of elements at a time.
#pragma once

#include <cstdint>

#include "kernels/core/align.h"
#include "kernels/cuda/element_group.cuh"
#include "kernels/cuda/launch.h"

namespace halfpipe::cuda {

inline constexpr int kElementLoopThreads = 256;

// What one of the blocks that cover the elements does. Groups per thread are all read before the
// first one is written, so that their loads overlap: the compiler cannot know that what is written
// is not the next operand. On an H100 some 18 KiB per SM must be on their way (3.35 TB/s, 0.7 us);
// 2048 threads with one 16-byte load each are 32 KiB.
template <int kWidth, typename Op>
__device__ __forceinline__ void element_loop_block(const Op& op,
                                                   std::int64_t block,
                                                   std::int64_t count) {
  constexpr std::int64_t kStride = std::int64_t{kElementLoopThreads} * kWidth;
  const std::int64_t first = block * Op::kGroups * kStride + std::int64_t{threadIdx.x} * kWidth;
  float operands[Op::kGroups][Op::kInputs][kWidth];
  if (first + (Op::kGroups - 1) * kStride + kWidth <= count) {
#pragma unroll
    for (int g = 0; g < Op::kGroups; ++g) op.load(first + g * kStride, operands[g]);
#pragma unroll
    for (int g = 0; g < Op::kGroups; ++g) op.store(first + g * kStride, operands[g]);
    return;
  }
#pragma unroll 1
  for (int g = 0; g < Op::kGroups; ++g) {
    const std::int64_t begin = first + g * kStride;
    const std::int64_t end = begin + kWidth < count ? begin + kWidth : count;
#pragma unroll 1
    for (std::int64_t i = begin; i < end; ++i) {
      float operand[Op::kInputs][1];
      op.load(i, operand);
      op.store(i, operand);
    }
  }
}

template <int kWidth, typename Op>
__global__ void __launch_bounds__(kElementLoopThreads)
    element_loop_kernel(Op op, std::int64_t count) {
  element_loop_block<kWidth>(op, blockIdx.x, count);
}

/// Elements of a block of element_loop_block_of_any.
template <typename Op>
inline constexpr std::int64_t kElementLoopBlock =
    std::int64_t{kElementLoopThreads} * Op::kGroups* Op::kWidth;

/// The same number of elements whether arrays are aligned or not, for kernels that know it for each
/// block only.
template <typename Op>
__device__ __forceinline__ void element_loop_block_of_any(const Op& op,
                                                          std::int64_t block,
                                                          std::int64_t count,
                                                          bool aligned) {
  if (aligned) {
    element_loop_block<Op::kWidth>(op, block, count);
    return;
  }
#pragma unroll 1
  for (int part = 0; part < Op::kWidth; ++part) {
    element_loop_block<1>(op, block * Op::kWidth + part, count);
  }
}

/// Every element once. Op, passed to the kernel by value, has
///   kWidth    elements of a group: a whole number of 16-byte accesses in each of its arrays
///   kGroups   groups that a thread reads before it writes
///   kInputs   arrays that are read
///   load(at, operands)   operands[input][i] = element at + i of that array
///   store(at, operands)  writes the results for elements at + i
/// both for groups of kWidth elements and of one. `aligned`: all arrays begin at multiples of 16
/// bytes.
template <typename Op>
void for_each_element(const Op& op, std::int64_t count, bool aligned, cudaStream_t stream) {
  if (count == 0) return;
  const std::int64_t width = aligned ? Op::kWidth : 1;
  const auto grid = static_cast<unsigned>(
      ceil_div(count, std::int64_t{kElementLoopThreads} * Op::kGroups * width));
  const auto kernel = aligned ? element_loop_kernel<Op::kWidth, Op> : element_loop_kernel<1, Op>;
  launch(kernel, dim3(grid), dim3(kElementLoopThreads), 0, stream, op, count);
}

}  // namespace halfpipe::cuda
