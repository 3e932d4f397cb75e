// SPDX-License-Identifier: Apache-2.0
// CUDA's device functions that need no other thread: arithmetic, bits, loads with cache hints,
// atomics. The approximate ones are exact here: tests must leave them the room that NVIDIA's
// documentation gives them.
#pragma once

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

inline unsigned __float_as_uint(float value) {
  return std::bit_cast<unsigned>(value);
}
inline int __float_as_int(float value) {
  return std::bit_cast<int>(value);
}
inline float __uint_as_float(unsigned bits) {
  return std::bit_cast<float>(bits);
}
inline float __int_as_float(int bits) {
  return std::bit_cast<float>(bits);
}

inline float __fadd_rn(float a, float b) {
  return a + b;
}
inline float __fsub_rn(float a, float b) {
  return a - b;
}
inline float __fmul_rn(float a, float b) {
  return a * b;
}
inline float __fdiv_rn(float a, float b) {
  return a / b;
}
inline float __fdividef(float a, float b) {
  return a / b;
}
inline float __fmaf_rn(float a, float b, float c) {
  return std::fma(a, b, c);
}
inline float __frcp_rn(float a) {
  return 1.0F / a;
}
inline float __fsqrt_rn(float a) {
  return std::sqrt(a);
}
inline float __frsqrt_rn(float a) {
  return static_cast<float>(1.0 / std::sqrt(static_cast<double>(a)));
}
inline float rsqrtf(float a) {
  return __frsqrt_rn(a);
}
inline float __saturatef(float a) {
  return a >= 0.0F ? std::min(a, 1.0F) : 0.0F;
}
inline float __expf(float a) {
  return std::exp(a);
}
inline float __logf(float a) {
  return std::log(a);
}
inline float __log2f(float a) {
  return std::log2(a);
}
inline float __powf(float a, float b) {
  return std::pow(a, b);
}
inline float __tanhf(float a) {
  return std::tanh(a);
}

inline int __float2int_rn(float a) {
  return static_cast<int>(std::nearbyint(a));
}
inline int __float2int_rz(float a) {
  return static_cast<int>(a);
}
inline unsigned __float2uint_rn(float a) {
  return static_cast<unsigned>(std::nearbyint(a));
}
inline float __int2float_rn(int a) {
  return static_cast<float>(a);
}
inline float __uint2float_rn(unsigned a) {
  return static_cast<float>(a);
}

inline int __popc(unsigned a) {
  return std::popcount(a);
}
inline int __clz(int a) {
  return std::countl_zero(static_cast<unsigned>(a));
}
inline int __ffs(int a) {
  return __builtin_ffs(a);
}
inline unsigned __umulhi(unsigned a, unsigned b) {
  return static_cast<unsigned>((std::uint64_t{a} * b) >> 32);
}
inline int __mulhi(int a, int b) {
  return static_cast<int>((std::int64_t{a} * b) >> 32);
}

inline int min(int a, int b) {
  return std::min(a, b);
}
inline int max(int a, int b) {
  return std::max(a, b);
}
inline unsigned min(unsigned a, unsigned b) {
  return std::min(a, b);
}
inline unsigned max(unsigned a, unsigned b) {
  return std::max(a, b);
}
inline long min(long a, long b) {
  return std::min(a, b);
}
inline long max(long a, long b) {
  return std::max(a, b);
}
inline long long min(long long a, long long b) {
  return std::min(a, b);
}
inline long long max(long long a, long long b) {
  return std::max(a, b);
}
inline float min(float a, float b) {
  return std::fmin(a, b);
}
inline float max(float a, float b) {
  return std::fmax(a, b);
}

template <typename T>
T __ldg(const T* pointer) {
  return *pointer;
}
template <typename T>
T __ldcg(const T* pointer) {
  return *pointer;
}
template <typename T>
T __ldcs(const T* pointer) {
  return *pointer;
}
template <typename T>
void __stcg(T* pointer, T value) {
  *pointer = value;
}
template <typename T>
void __stcs(T* pointer, T value) {
  *pointer = value;
}

inline void __threadfence() {
  std::atomic_thread_fence(std::memory_order_seq_cst);
}
inline void __threadfence_block() {
  std::atomic_thread_fence(std::memory_order_seq_cst);
}
[[noreturn]] inline void __trap() {
  __builtin_trap();
}

// Atomics: of the whole device, relaxed as on a GPU; each returns what was there before.

template <typename T>
requires(sizeof(T) == 4 || sizeof(T) == 8) T atomicAdd(T* address, T value) {
  return std::atomic_ref(*address).fetch_add(value, std::memory_order_relaxed);
}
template <typename T>
T atomicExch(T* address, T value) {
  return std::atomic_ref(*address).exchange(value, std::memory_order_relaxed);
}
template <typename T>
T atomicCAS(T* address, T expected, T value) {
  std::atomic_ref(*address).compare_exchange_strong(expected, value, std::memory_order_relaxed);
  return expected;
}
template <typename T>
T atomicMax(T* address, T value) {
  std::atomic_ref reference(*address);
  T old = reference.load(std::memory_order_relaxed);
  while (old < value && !reference.compare_exchange_weak(old, value, std::memory_order_relaxed)) {
  }
  return old;
}
template <typename T>
T atomicMin(T* address, T value) {
  std::atomic_ref reference(*address);
  T old = reference.load(std::memory_order_relaxed);
  while (value < old && !reference.compare_exchange_weak(old, value, std::memory_order_relaxed)) {
  }
  return old;
}
template <typename T>
T atomicOr(T* address, T value) {
  return std::atomic_ref(*address).fetch_or(value, std::memory_order_relaxed);
}
