// SPDX-License-Identifier: Apache-2.0
// Found before the header of this name beside the kernels. A block that waits keeps its host
// thread; the blocks it waits for have started, on other host threads.
#pragma once

#include <cuda_runtime.h>

#include <atomic>
#include <cstdint>
#include <thread>

namespace halfpipe::cuda {

[[nodiscard]] inline std::uint32_t take_ticket(std::uint32_t* counter) {
  return std::atomic_ref(*counter).fetch_add(1, std::memory_order_relaxed);
}

inline void wait_for_turn(std::uint32_t* turn, std::uint32_t number) {
  const std::atomic_ref value(*turn);
  while (value.load(std::memory_order_acquire) != number) std::this_thread::yield();
}

inline void pass_turn(std::uint32_t* turn, std::uint32_t number) {
  std::atomic_ref(*turn).store(number, std::memory_order_release);
}

}  // namespace halfpipe::cuda
