// SPDX-License-Identifier: Apache-2.0
// Found before NVIDIA's header of this name: what kernels and their hosts use of it, for a host
// compiler. A thread of a block is a fiber; see tests/cuda_emulation/block_runner.h.
#pragma once

#include "tests/cuda_emulation/device_functions.h"
#include "tests/cuda_emulation/runtime_api.h"
#include "tests/cuda_emulation/thread_index.h"
#include "tests/cuda_emulation/vector_types.h"
#include "tests/cuda_emulation/warp_functions.h"

#define __global__
#define __device__
#define __grid_constant__
#define __host__
#define __constant__
// A block runs on one thread of the operating system.
#define __shared__ static thread_local
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
