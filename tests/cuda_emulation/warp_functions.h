// SPDX-License-Identifier: Apache-2.0
// CUDA's barriers, shuffles and votes. Stricter than a GPU: every lane that a mask names must come,
// and a lane reads only from lanes of its mask.
#pragma once

#include <cstdint>

namespace halfpipe::cuda_emulation {

/// What lane `source` of the mask brought; ends the process when it is not in the mask. At most 8
/// bytes.
[[nodiscard]] std::uint64_t shuffle(unsigned mask, std::uint64_t bits, unsigned source);
/// Bit l is set when lane l of the mask came with a predicate that is not zero.
[[nodiscard]] unsigned vote(unsigned mask, bool predicate);
/// Over the lanes of the mask.
[[nodiscard]] unsigned sum_of_lanes(unsigned mask, unsigned value);
[[nodiscard]] unsigned current_lane();
/// The number of threads of the block whose predicate holds; a barrier of the block.
[[nodiscard]] int count_in_block(bool predicate);

template <typename T>
[[nodiscard]] T shuffle_value(unsigned mask, T value, unsigned source) {
  static_assert(sizeof(T) <= sizeof(std::uint64_t));
  std::uint64_t bits = 0;
  __builtin_memcpy(&bits, &value, sizeof(T));
  bits = shuffle(mask, bits, source);
  __builtin_memcpy(&value, &bits, sizeof(T));
  return value;
}

}  // namespace halfpipe::cuda_emulation

void __syncthreads();
int __syncthreads_count(int predicate);
int __syncthreads_or(int predicate);
int __syncthreads_and(int predicate);
void __syncwarp(unsigned mask = 0xffffffffU);

inline unsigned __ballot_sync(unsigned mask, int predicate) {
  return halfpipe::cuda_emulation::vote(mask, predicate != 0);
}
inline int __any_sync(unsigned mask, int predicate) {
  return __ballot_sync(mask, predicate) != 0 ? 1 : 0;
}
inline int __all_sync(unsigned mask, int predicate) {
  return __ballot_sync(mask, predicate) == mask ? 1 : 0;
}
inline unsigned __reduce_add_sync(unsigned mask, unsigned value) {
  return halfpipe::cuda_emulation::sum_of_lanes(mask, value);
}

// The lanes of a warp form segments of `width`, a power of two. A lane whose source lies outside of
// its segment gets its own value.

template <typename T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32) {
  const auto last = static_cast<unsigned>(width) - 1;
  const unsigned lane = halfpipe::cuda_emulation::current_lane();
  return halfpipe::cuda_emulation::shuffle_value(
      mask, value, (lane & ~last) | (static_cast<unsigned>(source) & last));
}
template <typename T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32) {
  const auto last = static_cast<unsigned>(width) - 1;
  const unsigned lane = halfpipe::cuda_emulation::current_lane();
  return halfpipe::cuda_emulation::shuffle_value(mask, value,
                                                 (lane & last) >= delta ? lane - delta : lane);
}
template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32) {
  const auto last = static_cast<unsigned>(width) - 1;
  const unsigned lane = halfpipe::cuda_emulation::current_lane();
  return halfpipe::cuda_emulation::shuffle_value(
      mask, value, (lane & last) + delta <= last ? lane + delta : lane);
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32) {
  const auto last = static_cast<unsigned>(width) - 1;
  const unsigned lane = halfpipe::cuda_emulation::current_lane();
  const unsigned source = lane ^ static_cast<unsigned>(lane_mask);
  // Earlier segments may be read, later ones not.
  return halfpipe::cuda_emulation::shuffle_value(
      mask, value, (source & ~last) <= (lane & ~last) ? source : lane);
}
