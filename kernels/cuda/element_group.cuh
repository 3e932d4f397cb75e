// SPDX-License-Identifier: Apache-2.0
// A group of neighbouring elements in a thread's registers: one, where rows or pointers rule out
// 16-byte accesses, or as many as fill a whole number of them.
#pragma once

#include <cstdint>
#include <initializer_list>

#include "kernels/core/dtype.h"
#include "kernels/core/error.h"
#include "kernels/cuda/element.cuh"

namespace halfpipe::cuda {

/// pointer[0 .. kWidth), 16-byte aligned unless kWidth is 1.
template <int kWidth, typename T>
__device__ __forceinline__ void load_group(float (&out)[kWidth], const T* pointer) {
  if constexpr (kWidth == 1) {
    out[0] = load_float(pointer);
  } else if constexpr (kWidth == kPerVector<T>) {
    load_vector(out, pointer);
  } else {
#pragma unroll
    for (int first = 0; first < kWidth; first += kPerVector<T>) {
      float part[kPerVector<T>];
      load_vector(part, pointer + first);
#pragma unroll
      for (int i = 0; i < kPerVector<T>; ++i) out[first + i] = part[i];
    }
  }
}

/// The same where it is wanted, else zeros and no access. The branch has the load alone, which does
/// not wait for it: loads that follow are on their way at the same time.
template <int kWidth, typename T>
__device__ __forceinline__ void load_group_if(bool wanted, float (&out)[kWidth], const T* pointer) {
  if constexpr (kWidth == 1) {
    T element{};
    if (wanted) element = *pointer;
    out[0] = load_float(&element);
  } else {
    static_assert(kWidth == kPerVector<T>);
    uint4 packed{0, 0, 0, 0};
    if (wanted) packed = load_packed(pointer);
    unpack<T>(out, packed);
  }
}

template <int kWidth, typename T>
__device__ __forceinline__ void store_group(T* pointer, const float (&in)[kWidth]) {
  if constexpr (kWidth == 1) {
    store_float(pointer, in[0]);
  } else if constexpr (kWidth == kPerVector<T>) {
    store_vector(pointer, in);
  } else {
#pragma unroll
    for (int first = 0; first < kWidth; first += kPerVector<T>) {
      float part[kPerVector<T>];
#pragma unroll
      for (int i = 0; i < kPerVector<T>; ++i) part[i] = in[first + i];
      store_vector(pointer + first, part);
    }
  }
}

/// Whether every pointer is a multiple of 16 bytes; null is.
[[nodiscard]] inline bool vector_aligned(std::initializer_list<const void*> pointers) {
  for (const void* pointer : pointers) {
    if (reinterpret_cast<std::uintptr_t>(pointer) % 16 != 0) return false;
  }
  return true;
}

/// Whether rows of C elements of T, one behind the other, begin at multiples of 16 bytes if the
/// first one does.
template <typename T>
[[nodiscard]] bool rows_keep_alignment(std::int64_t C) {
  return C % kPerVector<T> == 0;
}

/// Calls function<T>() with the element type that dtype names.
template <typename Function>
void with_element_type(DType dtype, const Function& function) {
  HALFPIPE_CHECK(dtype == DType::kFloat32 || dtype == DType::kBFloat16,
                 "activations are float32 or bfloat16");
  if (dtype == DType::kBFloat16) {
    function.template operator()<BFloat16>();
  } else {
    function.template operator()<float>();
  }
}

}  // namespace halfpipe::cuda
