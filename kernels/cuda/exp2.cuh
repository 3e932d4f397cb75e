// SPDX-License-Identifier: Apache-2.0
// Powers of two by the special-function unit. tests/cuda_emulation replaces this header.
#pragma once

#include <cuda_runtime.h>

namespace halfpipe::cuda {

/// 2^x with a relative error of 2^-22; 0 for -infinity and for results below the normal range.
[[nodiscard]] __device__ __forceinline__ float exp2_approx(float x) {
  float result;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
}

}  // namespace halfpipe::cuda
