// SPDX-License-Identifier: Apache-2.0
// Reductions over the lanes of a warp and the warps of a block, always in the same order.
#pragma once

#include <cuda_runtime.h>

namespace halfpipe::cuda {

inline constexpr int kWarpSize = 32;
inline constexpr unsigned kAllLanes = 0xffffffffU;

/// The sum over all 32 lanes, in every lane; halves first, so its bits do not depend on the lane.
__device__ __forceinline__ float warp_sum(float value) {
#pragma unroll
  for (int offset = kWarpSize / 2; offset > 0; offset /= 2) {
    value += __shfl_xor_sync(kAllLanes, value, offset);
  }
  return value;
}

__device__ __forceinline__ float warp_max(float value) {
#pragma unroll
  for (int offset = kWarpSize / 2; offset > 0; offset /= 2) {
    value = fmaxf(value, __shfl_xor_sync(kAllLanes, value, offset));
  }
  return value;
}

/// The sum over all threads of a block of kThreads (a multiple of 32), in every thread. `partial`
/// is shared memory of kThreads / 32 floats, free again when every thread has returned and passed a
/// barrier.
template <int kThreads>
__device__ __forceinline__ float block_sum(float value, float* partial) {
  constexpr int kWarps = kThreads / kWarpSize;
  const float of_warp = warp_sum(value);
  if constexpr (kWarps == 1) return of_warp;
  if (threadIdx.x % kWarpSize == 0) partial[threadIdx.x / kWarpSize] = of_warp;
  __syncthreads();
  float total = 0.0F;
#pragma unroll
  for (int warp = 0; warp < kWarps; ++warp) total += partial[warp];
  return total;
}

}  // namespace halfpipe::cuda
