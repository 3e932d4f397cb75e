// SPDX-License-Identifier: Apache-2.0
// Elements of tensors in registers: bfloat16 and float32 to float32 and back, 16 bytes at a time.
// tests/cuda_emulation replaces the conversions (element_conversion.cuh).
#pragma once

#include <cstdint>

#include "kernels/core/bfloat16.h"
#include "kernels/cuda/element_conversion.cuh"

namespace halfpipe::cuda {

[[nodiscard]] __device__ __forceinline__ float load_float(const float* pointer) {
  return *pointer;
}
[[nodiscard]] __device__ __forceinline__ float load_float(const BFloat16* pointer) {
  return widen(pointer->bits);
}
__device__ __forceinline__ void store_float(float* pointer, float value) {
  *pointer = value;
}
__device__ __forceinline__ void store_float(BFloat16* pointer, float value) {
  pointer->bits = round_to_bits(value);
}

/// Elements of type T in a 16-byte access.
template <typename T>
inline constexpr int kPerVector = 16 / static_cast<int>(sizeof(T));

/// pointer[0 .. kPerVector<T>), 16-byte aligned, as they lie in memory.
template <typename T>
[[nodiscard]] __device__ __forceinline__ uint4 load_packed(const T* pointer) {
  return *reinterpret_cast<const uint4*>(pointer);
}

/// The elements of type T in 16 bytes.
template <typename T>
__device__ __forceinline__ void unpack(float (&out)[kPerVector<T>], const uint4& packed) {
  const std::uint32_t words[4] = {packed.x, packed.y, packed.z, packed.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if constexpr (sizeof(T) == sizeof(float)) {
      out[i] = __uint_as_float(words[i]);
    } else {
      out[2 * i] = widen(static_cast<std::uint16_t>(words[i] & 0xffffU));
      out[2 * i + 1] = widen(static_cast<std::uint16_t>(words[i] >> 16));
    }
  }
}

/// pointer[0 .. kPerVector<T>), 16-byte aligned.
template <typename T>
__device__ __forceinline__ void load_vector(float (&out)[kPerVector<T>], const T* pointer) {
  unpack<T>(out, load_packed(pointer));
}

/// One 16-byte store of four words. As one integer: where the address is a sum of 64-bit products,
/// nvcc 13.0 splits the store of a uint4 or float4 into four (its PTX for sm_90a).
__device__ __forceinline__ void store_words(
    void* pointer, std::uint32_t w0, std::uint32_t w1, std::uint32_t w2, std::uint32_t w3) {
  __extension__ typedef unsigned __int128 Word __attribute__((may_alias));
  const std::uint64_t low = w0 | static_cast<std::uint64_t>(w1) << 32;
  const std::uint64_t high = w2 | static_cast<std::uint64_t>(w3) << 32;
  *static_cast<Word*>(pointer) = static_cast<Word>(high) << 64 | low;
}
__device__ __forceinline__ void store_vector(float* pointer, const float (&in)[4]) {
  store_words(pointer, __float_as_uint(in[0]), __float_as_uint(in[1]), __float_as_uint(in[2]),
              __float_as_uint(in[3]));
}
__device__ __forceinline__ void store_vector(BFloat16* pointer, const float (&in)[8]) {
  store_words(pointer, round_pair_to_bits(in[0], in[1]), round_pair_to_bits(in[2], in[3]),
              round_pair_to_bits(in[4], in[5]), round_pair_to_bits(in[6], in[7]));
}

}  // namespace halfpipe::cuda
