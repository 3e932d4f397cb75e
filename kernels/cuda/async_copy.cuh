// SPDX-License-Identifier: Apache-2.0
// Copies from global to shared memory that go on while the thread computes (PTX "cp.async", sm_80
// and later). tests/cuda_emulation replaces this header by one that copies at the wait.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace halfpipe::cuda {

/// Starts a copy of 16 bytes, both ends aligned to 16. When valid is false, global is not read and
/// zeros are written.
__device__ __forceinline__ void copy_async_16(void* shared, const void* global, bool valid = true) {
  const auto address = static_cast<std::uint32_t>(__cvta_generic_to_shared(shared));
  const int source_bytes = valid ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0],[%1],16,%2;" ::"r"(address), "l"(global),
               "r"(source_bytes)
               : "memory");
}

/// Closes this thread's current group of copies.
__device__ __forceinline__ void commit_copies() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}

/// Waits until at most kPending of this thread's newest groups are unfinished. Other threads see
/// the copies after a __syncthreads().
template <int kPending>
__device__ __forceinline__ void wait_for_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

}  // namespace halfpipe::cuda
