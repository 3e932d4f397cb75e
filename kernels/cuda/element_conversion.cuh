// SPDX-License-Identifier: Apache-2.0
// Bfloat16 bits to float32 and back on the device, by the hardware's instructions.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>

namespace halfpipe::cuda {

[[nodiscard]] __device__ __forceinline__ float widen(std::uint16_t bits) {
  return __uint_as_float(static_cast<std::uint32_t>(bits) << 16);
}

/// To the nearest, ties to even.
[[nodiscard]] __device__ __forceinline__ std::uint16_t round_to_bits(float value) {
  return __bfloat16_as_ushort(__float2bfloat16_rn(value));
}

/// low in bits 0 .. 15, high in bits 16 .. 31.
[[nodiscard]] __device__ __forceinline__ std::uint32_t round_pair_to_bits(float low, float high) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  return static_cast<std::uint32_t>(__bfloat16_as_ushort(pair.x)) |
         (static_cast<std::uint32_t>(__bfloat16_as_ushort(pair.y)) << 16);
}

}  // namespace halfpipe::cuda
