// SPDX-License-Identifier: Apache-2.0
// Where the running thread of a kernel is: CUDA's built-in variables. Set at every switch between
// the threads of a block.
#pragma once

#include "tests/cuda_emulation/vector_types.h"

// One definition for every file that holds kernels, without a call to initialise it.
inline thread_local constinit uint3 threadIdx{};
inline thread_local constinit uint3 blockIdx{};
inline thread_local constinit dim3 blockDim{};
inline thread_local constinit dim3 gridDim{};
inline constexpr int warpSize = 32;
