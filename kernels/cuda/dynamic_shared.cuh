// SPDX-License-Identifier: Apache-2.0
// Shared memory whose size the launch decides. tests/cuda_emulation replaces this header.
#pragma once

#include <cstddef>

/// Declares `std::byte* name`, 128-byte aligned, the launch's shared_bytes long.
#define HALFPIPE_DYNAMIC_SHARED(name)                               \
  extern __shared__ __align__(128) unsigned char halfpipe_shared[]; \
  std::byte* const name = reinterpret_cast<std::byte*>(halfpipe_shared)
